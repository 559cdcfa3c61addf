export { confirmLogin, type LoginOptions } from './broker/login.js';
export { type ReloadBrokerOptions, reloadBroker } from './broker/reload.js';
export type { ReloadOptions } from './broker/reload-scheduler.js';
export type { ReloadTarget } from './broker/reload-target.js';
export { type CheckReport, checkPasswordFile } from './check/check.js';
export type { BrokerRelease } from './check/stored-hash.js';
export {
  type Credentials,
  type CredentialsOptions,
  generateCredentials,
  generatePassword,
  generateUsername,
  type PasswordOptions,
  type UsernameOptions,
} from './credentials/generate.js';
export { assertPassword, assertUsername } from './credentials/rules.js';
export type { SetOutcome } from './document/draft.js';
export type { PasswordDraft } from './document/update-draft.js';
export {
  type Finding,
  type FindingCode,
  PasswordFileError,
  type PasswordFileErrorCode,
  type PasswordFileErrorDetails,
} from './errors.js';
export {
  type DynamicSecurityClient,
  type DynamicSecurityOptions,
  exportDynamicSecurity,
  type SkippedUser,
} from './export/dynamic-security.js';
export {
  type Argon2idHash,
  formatHash,
  type ParsedHash,
  type Pbkdf2Hash,
  parseHash,
  type Sha512Hash,
} from './hash/encoding.js';
export {
  type FileHashOptions,
  type HashOptions,
  hashPassword,
  hashPasswordSync,
  type VerifyOptions,
  verifyPassword,
  verifyPasswordSync,
} from './hash/hash.js';
export type { BrokerUser, CheckOptions } from './operations/check-file.js';
export type { EntriesOptions, HashEntry } from './operations/entries.js';
export type { SetHashesOptions } from './operations/set-hashes.js';
export type { PasswordEntry } from './operations/set-users.js';
export type { UpgradeOptions } from './operations/upgrade.js';
export type { PasswordFileOptions, ProgressOptions, ReloadedOptions, WaitOptions } from './options.js';
export { PasswordFile } from './password-file.js';
export type { CreateOptions } from './storage/temp-file.js';
export type { LockOptions } from './storage/writer.js';
export type { Entries } from './util/entries.js';
