/**
 * A consumer in TypeScript that uses all that the package exports, and passes `undefined` for every option that it has.
 * It is compiled as an ES module and as CommonJS, with every strict flag, against the packed declarations.
 */
import {
  type Argon2idHash,
  assertPassword,
  assertUsername,
  type BrokerRelease,
  type BrokerUser,
  type CheckOptions,
  type CheckReport,
  type CreateOptions,
  type Credentials,
  type CredentialsOptions,
  checkPasswordFile,
  confirmLogin,
  type DynamicSecurityClient,
  type DynamicSecurityOptions,
  type Entries,
  type EntriesOptions,
  exportDynamicSecurity,
  type FileHashOptions,
  type Finding,
  type FindingCode,
  formatHash,
  generateCredentials,
  generatePassword,
  generateUsername,
  type HashEntry,
  type HashOptions,
  hashPassword,
  hashPasswordSync,
  type LockOptions,
  type LoginOptions,
  type ParsedHash,
  type PasswordDraft,
  type PasswordEntry,
  PasswordFile,
  PasswordFileError,
  type PasswordFileErrorCode,
  type PasswordFileErrorDetails,
  type PasswordFileOptions,
  type PasswordOptions,
  type Pbkdf2Hash,
  type ProgressOptions,
  parseHash,
  type ReloadBrokerOptions,
  type ReloadedOptions,
  type ReloadOptions,
  type ReloadTarget,
  reloadBroker,
  type SetHashesOptions,
  type SetOutcome,
  type Sha512Hash,
  type SkippedUser,
  type UpgradeOptions,
  type UsernameOptions,
  type VerifyOptions,
  verifyPassword,
  verifyPasswordSync,
  type WaitOptions,
} from 'mosquitto-passwd-ts';

/** All properties of T, each with the type `undefined`: a type error for an option that does not take it. */
type Unset<T> = { [K in keyof T]-?: undefined };

const unset = {
  entries: { signal: undefined, onSkipped: undefined } satisfies Unset<EntriesOptions>,
  setHashes: {
    removeOthers: undefined,
    allowEmpty: undefined,
    onProgress: undefined,
    signal: undefined,
  } satisfies Unset<SetHashesOptions>,
  dynamicSecurity: { broker: undefined, roles: undefined } satisfies Unset<DynamicSecurityOptions>,
  verify: { maxIterations: undefined } satisfies Unset<VerifyOptions>,
  hash: {
    algorithm: undefined,
    iterations: undefined,
    saltBytes: undefined,
    maxIterations: undefined,
    salt: undefined,
  } satisfies Unset<HashOptions>,
  username: { prefix: undefined, length: undefined, alphabet: undefined } satisfies Unset<UsernameOptions>,
  password: { length: undefined, alphabet: undefined } satisfies Unset<PasswordOptions>,
  credentials: { username: undefined, password: undefined } satisfies Unset<CredentialsOptions>,
  wait: { signal: undefined } satisfies Unset<WaitOptions>,
  reloaded: { signal: undefined, force: undefined } satisfies Unset<ReloadedOptions>,
  progress: { signal: undefined, onProgress: undefined } satisfies Unset<ProgressOptions>,
  upgrade: { signal: undefined, onProgress: undefined, onSkipped: undefined } satisfies Unset<UpgradeOptions>,
  check: { signal: undefined, brokerUser: undefined } satisfies Unset<CheckOptions>,
  reloadBroker: { timeout: undefined, signal: undefined } satisfies Unset<ReloadBrokerOptions>,
  reload: { process: 'mosquitto', minInterval: undefined, onError: undefined } satisfies ReloadOptions,
  login: { tls: undefined, timeout: undefined, signal: undefined, clientId: undefined },
  lock: { timeout: undefined, stale: undefined } satisfies Unset<LockOptions>,
  create: { uid: undefined, gid: undefined, mode: undefined } satisfies Unset<CreateOptions>,
  fileHash: {
    algorithm: undefined,
    iterations: undefined,
    saltBytes: undefined,
    maxIterations: undefined,
  } satisfies Unset<FileHashOptions>,
  file: {
    broker: undefined,
    brokerFollowsLinks: undefined,
    hash: undefined,
    create: undefined,
    missing: undefined,
    allowOwnerChange: undefined,
    lock: undefined,
    reload: undefined,
  } satisfies Unset<PasswordFileOptions>,
  details: {
    cause: undefined,
    path: undefined,
    username: undefined,
    findings: undefined,
    committed: undefined,
  } satisfies Unset<PasswordFileErrorDetails>,
};

export async function hashes(bytes: Uint8Array): Promise<string[]> {
  const options: HashOptions = { algorithm: 'pbkdf2-sha512', iterations: 1000, salt: bytes };
  const made = [
    await hashPassword('secret'),
    await hashPassword(bytes, options),
    await hashPassword('secret', unset.hash),
    hashPasswordSync('secret', undefined),
  ];
  const right: boolean = (await verifyPassword('secret', 'hash')) && verifyPasswordSync(bytes, 'hash');
  return right ? made.map(parseHash).map(formatHash) : [];
}

export function cost(parsed: ParsedHash): number {
  const salt: Uint8Array = parsed.salt;
  const key: Uint8Array = parsed.key;
  switch (parsed.algorithm) {
    case 'pbkdf2-sha512':
      return pbkdf2(parsed);
    case 'sha512':
      return sha512(parsed);
    case 'argon2id':
      return argon2id(parsed) + salt.length + key.length;
  }
}
const pbkdf2 = ({ iterations }: Pbkdf2Hash): number => iterations;
const sha512 = ({ salt }: Sha512Hash): number => salt.length;
const argon2id = ({ memory, passes, parallelism }: Argon2idHash): number => memory * passes * parallelism;

export function generated(): Credentials[] {
  const username: UsernameOptions = { prefix: 'meter/', length: 12, alphabet: 'ab' };
  const password: PasswordOptions = { length: 64, alphabet: '0123456789abcdef' };
  const options: CredentialsOptions = { username, password };
  return [
    generateCredentials(),
    generateCredentials(options),
    generateCredentials({ username: unset.username, password: unset.password }),
    generateCredentials(unset.credentials),
    { username: generateUsername(undefined), password: generatePassword(undefined) },
  ];
}

export async function editFile(path: string | URL, secret: string | undefined): Promise<unknown[]> {
  const lock: LockOptions = { timeout: 1_000, stale: 1_000 };
  const create: CreateOptions = { uid: 1883, gid: 1883, mode: 0o640 };
  const hash: FileHashOptions = { algorithm: 'pbkdf2-sha512', iterations: 101, saltBytes: 12 };
  const broker: BrokerRelease = '2.0';
  const reload: ReloadOptions = { pidFile: path, minInterval: 100, onError: error => told(error) };
  const options: PasswordFileOptions = { broker, missing: 'error', hash, create, lock, reload };
  const file: PasswordFile = new PasswordFile(path, options);
  new PasswordFile(path, unset.file);
  new PasswordFile(path, {
    hash: unset.fileHash,
    create: unset.create,
    lock: unset.lock,
    reload: unset.reload,
  });

  // An unset environment variable compiles, and is refused at run time.
  await file.setUser('alice', secret);
  assertPassword(secret);
  const outcome: SetOutcome = await file.setUser('alice', secret);
  const made: boolean = await file.create();
  await file.addUser('alice', new Uint8Array(8), unset.wait);
  const removed: boolean = await file.removeUser('alice', { signal: AbortSignal.timeout(1_000) });
  const entries: PasswordEntry[] = [['alice', 'secret']];
  const progress: ProgressOptions = { onProgress: (done: number, total: number) => done / total };
  const counts: { added: number; updated: number; unchanged: number } = await file.setUsers(
    entries,
    progress,
  );
  await file.setUsers(new Map([['alice', 'secret']]), unset.progress);
  await file.setUsers(streamed(), undefined);
  const gone: string[] = await file.removeUsers(new Set(['alice']));
  const credentials: Credentials = await file.provision({ ...unset.credentials, ...unset.wait });
  const verified: boolean = await file.verify('alice', 'secret');
  const known: boolean = await file.hasUser('alice');
  const names: string[] = await file.users();
  const line: string | undefined = await file.getHash('alice');
  const restored: SetOutcome = await file.setHash('alice', line ?? '');
  const kept: number = await file.update(keepOne, undefined);
  const upgrade: UpgradeOptions = { onSkipped: ({ line, message }) => `${line} ${message}` };
  const upgraded: string[] = await file.upgrade(upgrade);
  await file.upgrade(unset.upgrade);
  await file.reloaded({ signal: undefined });
  return [
    outcome,
    upgraded,
    made,
    removed,
    counts,
    gone,
    credentials,
    verified,
    known,
    names,
    restored,
    kept,
  ];
}

async function* streamed(): AsyncIterable<PasswordEntry> {
  yield ['alice', 'secret'];
}

function keepOne(draft: PasswordDraft): number {
  const [first, ...others] = draft.keys();
  for (const name of others) draft.delete(name);
  if (first !== undefined && draft.has(first)) draft.set(first, draft.get(first) ?? '').delete('alice');
  return others.length;
}

export async function checked(path: string, bytes: Uint8Array): Promise<CheckReport[]> {
  const brokerUser: BrokerUser = { uid: 1883, gid: 1883 };
  const file = new PasswordFile(path);
  const reports = [await file.check(), await file.check({ brokerUser }), await file.check(unset.check)];
  return [...reports, checkPasswordFile(bytes, { broker: '2.1' })].filter(
    ({ loads, users }) => loads || users.length,
  );
}

export async function tellBroker(pid: number | undefined): Promise<void> {
  const command: readonly string[] = ['docker', 'kill', '--signal=HUP', 'broker'];
  const targets: ReloadTarget[] = [{ process: 'mosquitto' }, { pidFile: '/run/mosquitto.pid' }, { command }];
  // @ts-expect-error: a process id that may be undefined must be checked first
  targets.push({ pid });
  if (pid !== undefined) targets.push({ pid });
  const options: ReloadBrokerOptions = { timeout: 1_000, signal: AbortSignal.timeout(2_000) };
  for (const target of targets) await reloadBroker(target, options);
  await reloadBroker({ process: 'mosquitto' }, unset.reloadBroker);

  const login: LoginOptions = { host: 'broker', port: 8883, username: 'alice', password: 'secret' };
  await confirmLogin({ ...login, tls: { ca: 'PEM', servername: 'broker' }, timeout: 5_000 });
  await confirmLogin({ ...login, ...unset.login });
}

export async function replicate(from: PasswordFile, to: PasswordFile): Promise<number> {
  const options: SetHashesOptions = { removeOthers: true, onProgress: done => console.log(done) };
  const { added, updated, unchanged, removed } = await to.setHashes(from.entries(), options);
  const rows: HashEntry[] = [];
  for await (const entry of from.entries({ onSkipped: ({ line }) => console.log(line) })) rows.push(entry);
  for await (const [username, hash] of from.entries(unset.entries)) rows.push([username, hash]);
  await to.setHashes(rows, unset.setHashes);
  return added + updated + unchanged + removed;
}

export async function convert(rows: AsyncIterable<readonly [string, string]>): Promise<string> {
  const options: DynamicSecurityOptions = { broker: '2.1', roles: new Set(['device']) };
  const { clients, skipped } = await exportDynamicSecurity(rows, options);
  const map: Entries<string> = new Map([['alice', '$7$']]);
  await exportDynamicSecurity(map, unset.dynamicSecurity);
  const first: DynamicSecurityClient | undefined = clients[0];
  const reasons = skipped.map(({ username, reason }: SkippedUser) => `${username}: ${reason}`);
  return `${first?.username} ${first?.roles?.[0]?.rolename} ${reasons}`;
}

export function nameOf(username: unknown): string {
  assertUsername(username);
  return username;
}

export function told(error: unknown): string {
  const wait: WaitOptions = { signal: undefined };
  const details: PasswordFileErrorDetails = { cause: error, path: '/passwd', committed: true };
  const made = new PasswordFileError('ERR_USER_EXISTS', `not ${wait.signal}`, details);
  new PasswordFileError('ERR_USER_EXISTS', 'nothing more', unset.details);
  const thrown: Error = made;
  const code: PasswordFileErrorCode = made.code;
  const findings: readonly Finding[] = made.findings ?? [];
  const codes: FindingCode[] = findings.map(({ code }) => code);
  const finding = findings.map(
    ({ line, severity, username }) => `${line} ${severity} ${username?.length ?? 0}`,
  );
  return [thrown.message, code === 'ERR_LOCK_TIMEOUT', made.path, ...codes, ...finding].join();
}
