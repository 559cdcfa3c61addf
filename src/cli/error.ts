/** Ends the program: its message goes to standard error, and its status is the exit status. */
export class CliError extends Error {
  /** Not even the question could be understood: the usage goes to standard output, as mosquitto_passwd has it. */
  readonly showsUsage: boolean;
  readonly status: number | undefined;

  /** @param options `status`: without it, 1, or 2 where 1 would be an answer */
  constructor(message: string, options: { status?: number; showsUsage?: boolean } = {}) {
    super(message);
    this.status = options.status;
    this.showsUsage = options.showsUsage ?? false;
  }
}

/** What the exit statuses say, for `--help`. */
export const STATUS = {
  DONE: 0,
  FAILED: 1,
  /** Two different passwords were typed; to --verify and --check, whose 1 is an answer: failed. */
  NO_ANSWER: 2,
  /** The file was changed, but something after that failed. */
  CHANGED_BUT: 3,
  /** 128 and the number of the signal, as shells have it. */
  INTERRUPTED: 130,
} as const;
