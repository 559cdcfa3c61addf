/** A password file as one `PasswordFile` sees it: what it read last, and who it has seen holding the file. */
import type { Settings } from '../options.js';
import { Cache } from './cache.js';
import type { EditSource, WritePolicy } from './group-commit.js';
import { StalenessDetector } from './lock-owner.js';
import { resolveTarget } from './path.js';

export class FileSite extends Cache implements EditSource {
  readonly policy: WritePolicy;
  readonly policyKey: string;
  readonly fileMustExist: boolean;
  readonly detector = new StalenessDetector();
  /** Called after each commit with an edit from here in it. */
  onCommit: (() => void) | undefined;
  readonly #path: string;

  constructor(settings: Settings) {
    super(settings.path, settings.fileMustExist);
    this.#path = settings.path;
    this.policy = settings.policy;
    this.policyKey = JSON.stringify(settings.policy);
    this.fileMustExist = settings.fileMustExist;
  }

  /** The file to edit, all links followed. */
  get target(): string {
    return resolveTarget(this.#path);
  }

  committed(): void {
    this.drop();
    this.onCommit?.();
  }
}
