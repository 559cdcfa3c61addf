/** How clients are merged into a config of the plugin. The whole call: test/program/dynamic-security.test.ts. */
import { expect, test } from 'vitest';
import { merge, parse } from '../../src/cli/dynamic-security.js';

const HASHED = { password: 'a2V5', salt: 'c2FsdA==', iterations: 101 };
const ADMIN = { username: 'admin', textName: 'Dynsec admin user', ...HASHED, roles: [{ rolename: 'admin' }] };
const ALICE = { username: 'alice', clientid: 'a-1', disabled: true, encoded_password: '$7$…' };
const CONFIG = {
  clients: [ADMIN, ALICE, { username: 'émile' }],
  groups: [{ groupname: 'operators', roles: [{ rolename: 'admin' }], clients: [{ username: 'émile' }] }],
  roles: [{ rolename: 'admin', acls: [] }, { rolename: 'device' }],
  defaultACLAccess: { subscribe: false },
  anonymousGroup: '',
};

function client(username: string) {
  return { username, ...HASHED, roles: [{ rolename: 'device' }] };
}

test('new clients are added to the existing ones, all in descending order of their names', () => {
  const merged = merge('c', CONFIG, ['z', 'bob', 'B'].map(client), false);
  expect(merged).toMatchObject({ added: 3, replaced: 0, admins: [] });
  expect(merged.config).toEqual({
    ...CONFIG,
    clients: [{ username: 'émile' }, client('z'), client('bob'), ALICE, ADMIN, client('B')],
  });
});

test('a client of the same name is an error without --force', () => {
  const message = 'c has the client alice already. --force replaces clients, but no administrators.';
  expect(() => merge('c', CONFIG, [client('bob'), client('alice')], false)).toThrow(
    expect.objectContaining({ message: `${message} Nothing was changed.` }),
  );
  expect(() => merge('c', CONFIG, [client('admin'), client('alice')], false)).toThrow(
    /has the client admin and 1 more of the users already/,
  );
});

test('with --force a client gets the new password and roles, and stays disabled and bound to its client id', () => {
  const before = { ...ALICE, ...HASHED, roles: [{ rolename: 'other' }] };
  const config = { ...CONFIG, clients: [before, ADMIN] };
  const login = { username: 'alice', encoded_password: '$7$101$…' };
  const merged = merge('c', config, [client('bob'), login], true);
  expect(merged).toMatchObject({ added: 1, replaced: 1, admins: [] });
  const alice = { ...login, clientid: 'a-1', disabled: true };
  expect(merged.config.clients).toEqual([client('bob'), alice, ADMIN]);
  const again = merge('c', merged.config, [client('alice')], true);
  expect(again.config.clients).toEqual([
    client('bob'),
    { ...client('alice'), clientid: 'a-1', disabled: true },
    ADMIN,
  ]);
});

test('with --force two clients of the same name are replaced by one', () => {
  const merged = merge('c', { ...CONFIG, clients: [ALICE, ADMIN, ALICE] }, [client('alice')], true);
  expect(merged).toMatchObject({ added: 0, replaced: 1 });
  expect(merged.config.clients).toEqual([{ ...client('alice'), clientid: 'a-1', disabled: true }, ADMIN]);
});

test('a client with the role admin is never replaced', () => {
  const merged = merge('c', CONFIG, ['bob', 'admin'].map(client), true);
  expect(merged).toMatchObject({ added: 1, replaced: 0, admins: ['admin'] });
  expect(merged.config.clients).toEqual([{ username: 'émile' }, client('bob'), ALICE, ADMIN]);
});

test('a member of a group with the role admin is never replaced or added', () => {
  const merged = merge('c', CONFIG, [client('émile')], true);
  expect(merged).toMatchObject({ added: 0, replaced: 0, admins: ['émile'] });
  expect(merged.config.clients).toEqual([{ username: 'émile' }, ALICE, ADMIN]);
  const withoutClient = merge('c', { ...CONFIG, clients: [ADMIN] }, [client('émile')], false);
  expect(withoutClient).toMatchObject({ added: 0, admins: ['émile'] });
});

test.each([
  ['$CONTROL/#', true],
  ['$CONTROL/dynamic-security/v1', true],
  ['$CONTROL/+/v1', true],
  ['$CONTROL', false],
  ['$SYS/#', false],
  ['#', false],
  ['+/dynamic-security/v1', false],
])('a client that may publish to %s by a role or by a group is an administrator: %j', (topic, isAdmin) => {
  const acls = [
    { acltype: 'subscribePattern', topic: '$CONTROL/#', allow: true },
    { acltype: 'publishClientSend', topic, allow: true },
  ];
  const roles = [{ rolename: 'operator' }];
  const config = {
    clients: [{ username: 'alice', roles }, { username: 'bob' }],
    groups: [{ roles, clients: [{ username: 'bob' }] }],
    roles: [
      { rolename: 'operator', acls },
      { rolename: 'device', acls: [{ ...acls[1], allow: false }] },
    ],
  };
  const { admins, replaced } = merge('c', config, ['alice', 'bob', 'carol'].map(client), true);
  expect({ admins, replaced }).toEqual(
    isAdmin ? { admins: ['alice', 'bob'], replaced: 0 } : { admins: [], replaced: 2 },
  );
  const again = merge('c', { ...config, clients: [client('alice')] }, [client('alice')], true);
  expect(again.admins).toEqual([]);
});

test('items of the list that are no clients stay', () => {
  const clients = [null, 7, {}, { username: 7 }];
  const { config } = merge('c', { ...CONFIG, clients }, [client('bob')], false);
  expect(config.clients).toEqual([client('bob'), { username: 7 }, null, 7, {}]);
});

test.each([
  'alice:$7$101$c2FsdA==$a2V5',
  '{"clients": [], "roles": [',
  '"clients"',
  'null',
  '[]',
  '{"clients": {}, "roles": []}',
  '{"clients": []}',
])('%s is refused as a file of the plugin', text => {
  const problem = 'it is not JSON in UTF-8 with lists of clients and roles';
  expect(() => parse('c', Buffer.from(text))).toThrow(
    expect.objectContaining({ message: `c is not a file of mosquitto_ctrl dynsec init: ${problem}.` }),
  );
});
