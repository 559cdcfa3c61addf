export type { BrokerRelease } from './broker-hash.js';
export { type CheckReport, checkPasswordFile } from './check.js';
export type { BrokerUser } from './check-file.js';
export type { LockOptions } from './commit.js';
export {
  type Credentials,
  type CredentialsOptions,
  generateCredentials,
  generatePassword,
  generateUsername,
  type PasswordOptions,
  type UsernameOptions,
} from './credentials.js';
export {
  type Finding,
  PasswordFileError,
  type PasswordFileErrorCode,
  type PasswordFileErrorDetails,
} from './errors.js';
export { PasswordFile } from './file.js';
export {
  type Argon2idHash,
  formatHash,
  type ParsedHash,
  type Pbkdf2Hash,
  parseHash,
  type Sha512Hash,
} from './format.js';
export {
  type HashOptions,
  hashPassword,
  hashPasswordSync,
  verifyPassword,
  verifyPasswordSync,
} from './hash.js';
export { confirmLogin, type LoginOptions } from './login.js';
export { assertPassword, assertUsername } from './names.js';
export type { FileHashOptions, PasswordFileOptions } from './options.js';
export { type ReloadBrokerOptions, type ReloadTarget, reloadBroker } from './reload.js';
export type { ReloadOptions } from './reloader.js';
export type { CreateOptions } from './replace.js';
export type { PasswordEntry, ProgressOptions, SetOutcome, WaitOptions } from './set-users.js';
export type { PasswordDraft } from './update.js';
export type { UpgradeOptions } from './upgrade.js';
