const library = require('mosquitto-passwd-ts');
const { exercise } = require('./exercise.cjs');

exercise(library, process.argv[2]);
