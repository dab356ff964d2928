/** Exit codes of the alga command; documented in the CLI reference. */
export enum ExitCode {
  Ok = 0,
  /** The project, bundle or extension has an error that its author can mend. */
  Failed = 1,
  /** The command line is wrong. */
  Usage = 2,
  /** The server refused, or cannot be reached. */
  Server = 3,
  /** The account may not do this, or nobody is logged in. */
  Denied = 4,
  /** Somebody ended it; the status that shells give to an interrupt. */
  Interrupted = 130,
}

/** Where in a file of the author an error is. Lines and columns start at 1. */
export interface SourceLocation {
  file: string;
  line?: number;
  column?: number;
}

export interface FailureDetails {
  /** What to do about it, as an instruction. */
  hint?: string;
  location?: SourceLocation;
  /** The lines around the location, with a marker. */
  frame?: string;
  exitCode?: ExitCode;
  /** Further facts for `--json`. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** An error that the command explains to its user; anything else is a bug of the command. */
export class Failure extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  readonly location: SourceLocation | undefined;
  readonly frame: string | undefined;
  readonly exitCode: ExitCode;
  readonly details: Record<string, unknown> | undefined;

  /** @param code stable name `module.snake_reason` for scripts; the message may change */
  constructor(code: string, message: string, details: FailureDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'Failure';
    this.code = code;
    this.hint = details.hint;
    this.location = details.location;
    this.frame = details.frame;
    this.exitCode = details.exitCode ?? ExitCode.Failed;
    this.details = details.details;
  }
}

export function formatLocation(location: SourceLocation): string {
  const { file, line, column } = location;
  return [file, line, column].filter((part) => part !== undefined).join(':');
}
