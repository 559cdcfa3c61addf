import { expect, test } from 'vitest';
import * as library from '../../src/index.js';
import { randomNumbers } from '../support/random.js';
import { countSignals } from '../support/reload-signals.js';
import { describeBrokers } from '../support/require.js';

const SIGNALS = Number(process.env.RELOAD_SIGNALS ?? 200);
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

describeBrokers('reloads of a broker with random loads', program => {
  test(
    `none of ${SIGNALS} is lost, and each is over when reloaded() resolves (SEED=${SEED})`,
    async () => {
      const counts = await countSignals(library, program, SIGNALS, randomNumbers(SEED));
      expect(counts).toEqual({ signals: SIGNALS, early: 0, lost: 0 });
    },
    60_000 + SIGNALS * 2_000,
  );
});
