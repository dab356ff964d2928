import type { Failure } from './failure.js';
import { formatLocation } from './failure.js';

/** Where a command writes; tests give streams of their own. */
export interface Streams {
  stdout: { write(text: string): unknown; isTTY?: boolean };
  stderr: { write(text: string): unknown; isTTY?: boolean };
}

/** Work that shows how long it has been going on. */
export interface Progress {
  done(note?: string): void;
  /** The work ended badly; the error itself is told by who gives up. */
  failed(note?: string): void;
}

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/**
 * What a command says. People read lines: results on stdout, everything else on stderr. With
 * `--json` stdout carries exactly one document, the result or the error, and stderr stays quiet.
 */
export class Output {
  readonly json: boolean;
  readonly #streams: Streams;
  readonly #warnings: string[] = [];

  constructor(streams: Streams, json: boolean) {
    this.#streams = streams;
    this.json = json;
  }

  get interactive(): boolean {
    return !this.json && this.#streams.stderr.isTTY === true;
  }

  /** A line of the result. */
  print(line = ''): void {
    if (!this.json) this.#streams.stdout.write(`${line}\n`);
  }

  /** A line about what is going on. */
  note(line: string): void {
    if (!this.json) this.#streams.stderr.write(`${line}\n`);
  }

  warn(message: string): void {
    this.#warnings.push(message);
    this.note(`${this.paint('33', 'warning')} ${message}`);
  }

  /** The result for scripts; printed only with `--json`. */
  result(value: Record<string, unknown>): void {
    if (!this.json) return;
    const warnings = this.#warnings.length === 0 ? {} : { warnings: this.#warnings };
    this.#streams.stdout.write(`${JSON.stringify({ ok: true, ...value, ...warnings })}\n`);
  }

  /** One JSON document per line, for commands that go on (`logs --follow`, `dev`). */
  event(value: Record<string, unknown>): void {
    if (this.json) this.#streams.stdout.write(`${JSON.stringify(value)}\n`);
  }

  fail(failure: Failure): void {
    if (this.json) {
      const { code, message, hint, location, frame, details } = failure;
      const error = { code, message, hint, location, frame, ...details };
      const warnings = this.#warnings.length === 0 ? {} : { warnings: this.#warnings };
      this.#streams.stdout.write(`${JSON.stringify({ ok: false, error, ...warnings })}\n`);
      return;
    }
    const where = failure.location ? ` ${formatLocation(failure.location)}` : '';
    this.note(`${this.paint('31', 'error')}${where} ${failure.message} [${failure.code}]`);
    if (failure.frame !== undefined) this.note(`\n${failure.frame}\n`);
    if (failure.hint !== undefined) this.note(`${this.paint('36', '  → ')}${failure.hint}`);
  }

  /** Starts a piece of work. A terminal shows a spinner; elsewhere a line appears when it is done. */
  progress(label: string): Progress {
    const started = performance.now();
    let frame = 0;
    const draw = () => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      frame += 1;
      this.#streams.stderr.write(
        `\r${SPINNER[frame % SPINNER.length] ?? ''} ${label} ${seconds} s`,
      );
    };
    const timer = this.interactive ? setInterval(draw, 100) : undefined;
    const end = (mark: string, note: string | undefined) => {
      clearInterval(timer);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const clear = this.interactive ? '\r\u001b[2K' : '';
      const suffix = note === undefined ? '' : `  ${note}`;
      this.note(`${clear}${mark} ${label} (${seconds} s)${suffix}`);
    };
    return {
      done: (note) => end(this.paint('32', '✔'), note),
      failed: (note) => end(this.paint('31', '✘'), note),
    };
  }

  /** A table with a header row, columns padded to their widest cell. */
  table(header: readonly string[], rows: readonly (readonly string[])[]): void {
    const all = [header, ...rows];
    const widths = header.map((_, column) =>
      Math.max(...all.map((row) => (row[column] ?? '').length)),
    );
    for (const row of all) {
      this.print(
        row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd(),
      );
    }
  }

  paint(colour: string, text: string): string {
    const plain = this.#streams.stderr.isTTY !== true || process.env['NO_COLOR'] !== undefined;
    return plain ? text : `\u001b[${colour}m${text}\u001b[0m`;
  }
}

export function formatBytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const kib = count / 1024;
  return kib < 1024 ? `${kib.toFixed(1)} KiB` : `${(kib / 1024).toFixed(2)} MiB`;
}
