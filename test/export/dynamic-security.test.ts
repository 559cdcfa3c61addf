import { describe, expect, test } from 'vitest';
import { exportDynamicSecurity } from '../../src/export/dynamic-security.js';
import { formatHash, parseHash } from '../../src/hash/encoding.js';
import { hashPasswordSync } from '../../src/hash/hash.js';

const SALT = new Uint8Array(12).fill(1);
const SALT_64 = new Uint8Array(64).fill(2);
const HASH = hashPasswordSync('secret', { salt: SALT });
const HASH_64 = hashPasswordSync('secret', { salt: SALT_64, iterations: 1000 });
const SHA512 = hashPasswordSync('secret', { algorithm: 'sha512', salt: SALT });
const ARGON2ID = formatHash({
  algorithm: 'argon2id',
  memory: 47104,
  passes: 1,
  parallelism: 1,
  salt: SALT_64,
  key: SALT_64,
});

async function* arriving<T>(rows: Iterable<T>): AsyncGenerator<T> {
  yield* rows;
}

describe('exportDynamicSecurity', () => {
  test('gives key, salt and iterations of a $7$ hash, in the form of 2.0, without the option broker', async () => {
    const { clients, skipped } = await exportDynamicSecurity([['alice', HASH]]);
    const parsed = parseHash(HASH);
    expect(clients).toEqual([
      {
        username: 'alice',
        password: Buffer.from(parsed.key).toString('base64'),
        salt: Buffer.from(SALT).toString('base64'),
        iterations: 101,
      },
    ]);
    expect(skipped).toEqual([]);
  });

  test("gives the whole hash with broker: '2.1'", async () => {
    const rows: Array<[string, string]> = [
      ['c', HASH],
      ['b', HASH_64],
      ['a', SHA512],
    ];
    const { clients, skipped } = await exportDynamicSecurity(rows, { broker: '2.1' });
    expect(clients).toEqual([
      { username: 'c', encoded_password: HASH },
      { username: 'b', encoded_password: HASH_64 },
      { username: 'a', encoded_password: SHA512 },
    ]);
    expect(skipped).toEqual([]);
  });

  test('skips what the release cannot read, with the reason', async () => {
    const rows: Array<[string, string]> = [
      ['long salt', HASH_64],
      ['old', SHA512],
      ['argon', ARGON2ID],
      ['damaged', HASH.slice(0, -3)],
      ['plain', 'secret of plain'],
      ['fine', HASH],
    ];
    const { clients, skipped } = await exportDynamicSecurity(rows);
    expect(clients.map(({ username }) => username)).toEqual(['fine']);
    expect(skipped).toEqual([
      { username: 'long salt', reason: expect.stringContaining('salt of 64 bytes') },
      { username: 'old', reason: expect.stringContaining('$6$') },
      { username: 'argon', reason: expect.stringContaining('argon2id') },
      { username: 'damaged', reason: expect.stringContaining('not a hash that mosquitto_passwd') },
      { username: 'plain', reason: expect.stringContaining('not a hash that mosquitto_passwd') },
    ]);
    expect(JSON.stringify(skipped)).not.toContain('secret of plain');
    const { skipped: of21 } = await exportDynamicSecurity(rows, { broker: '2.1' });
    expect(of21.map(({ username }) => username)).toEqual(['argon', 'damaged', 'plain']);
  });

  test.each([
    ['that is empty', ''],
    ['with a NUL', 'a\0b'],
    ['with U+0001', 'a\u0001'],
    ['with U+0085', '\u0085'],
    ['with half of a surrogate pair', '\ud800'],
    ['with a noncharacter', '\uffff'],
    ['of 65,536 bytes', 'é'.repeat(32_768)],
  ])('skips a name %s, which no client can send', async (_what, name) => {
    const { clients, skipped } = await exportDynamicSecurity([[name, HASH]]);
    expect(clients).toEqual([]);
    expect(skipped).toEqual([{ username: name, reason: expect.stringContaining('user name') }]);
  });

  test('lists clients in descending order of their names', async () => {
    const names = ['b', 'a10', 'z', 'a9', '设', 'a'];
    const { clients } = await exportDynamicSecurity(names.map(name => [name, HASH]));
    expect(clients.map(({ username }) => username)).toEqual(['设', 'z', 'b', 'a9', 'a10', 'a']);
  });

  test('exports or skips a duplicate name by its last entry', async () => {
    const other = hashPasswordSync('other', { salt: SALT });
    const last = await exportDynamicSecurity(
      [
        ['a', HASH],
        ['b', SHA512],
        ['c', HASH],
        ['a', other],
        ['b', HASH],
        ['c', SHA512],
      ],
      { roles: [] },
    );
    const { clients: expected } = await exportDynamicSecurity([
      ['b', HASH],
      ['a', other],
    ]);
    expect(last.clients).toEqual(expected);
    expect(last.skipped.map(({ username }) => username)).toEqual(['c']);
  });

  test('gives each client the roles, each once, in a list of its own', async () => {
    const rows = new Map([
      ['a', HASH],
      ['b', HASH],
    ]);
    const { clients } = await exportDynamicSecurity(rows, { roles: new Set(['device', 'reader']) });
    const roles = [{ rolename: 'device' }, { rolename: 'reader' }];
    expect(clients.map(client => client.roles)).toEqual([roles, roles]);
    expect(clients[0]?.roles).not.toBe(clients[1]?.roles);
    const twice = await exportDynamicSecurity(rows, { roles: ['device', 'device'] });
    expect(twice.clients[0]?.roles).toEqual([{ rolename: 'device' }]);
  });

  test('accepts an async iterable', async () => {
    const { clients } = await exportDynamicSecurity(arriving([['a', HASH] as const]));
    expect(clients).toHaveLength(1);
  });

  test('rejects with what the source throws', async () => {
    const source = (function* (): Generator<[string, string]> {
      yield ['a', HASH];
      throw new Error('the query failed');
    })();
    await expect(exportDynamicSecurity(source)).rejects.toThrow('the query failed');
  });

  test.each<[string, unknown, unknown]>([
    ['an unknown release', [], { broker: '2.2' }],
    ['a string in place of a list of roles', [], { roles: 'device' }],
    ['null in place of a list of roles', [], { roles: null }],
    ['a role with an empty name', [], { roles: ['device', ''] }],
    ['a role that is no string', [], { roles: [1] }],
    ['an unknown option', [], { role: ['device'] }],
    ['null in place of options', [], null],
    ['a name that is no string', [[1, HASH]], {}],
    ['an entry that is no pair', [null], {}],
    ['a number in place of entries', 5, {}],
  ])('refuses %s with ERR_INVALID_ARGUMENT', async (_, entries, options) => {
    const call = exportDynamicSecurity(entries as [], options as object);
    await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  });
});
