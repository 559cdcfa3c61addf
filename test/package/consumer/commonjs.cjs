const library = require('mosquitto-passwd-ts');
const { exercise } = require('./exercise.cjs');

exercise(library, JSON.parse(process.argv[2]));
