import * as library from 'mosquitto-passwd-ts';
import { exercise } from './exercise.cjs';

await exercise(library, JSON.parse(process.argv[2]));
