import type { Failure } from './failure.js';
import { formatLocation } from './failure.js';

/** Where a command writes; tests give streams of their own. */
export interface Streams {
  stdout: { write(text: string): unknown; isTTY?: boolean };
  stderr: { write(text: string): unknown; isTTY?: boolean };
}

/** How work is shown while it goes on. */
export interface Shown<T = unknown> {
  /** What its result is, in a few words, for the line that says that it is done. */
  note?: (result: T) => string;
  /** It is mostly over at once: nothing is said before a second has passed. */
  quick?: boolean;
}

/** Who shows that work goes on; `Output` does. */
export interface Waiting {
  during<T>(label: string, work: () => Promise<T>, shown?: Shown<T>): Promise<T>;
}

/** After this time people wonder whether anything goes on. */
const NOTICED_MS = 1000;
const REDRAW_MS = 100;
const CLEAR_LINE = '\r\u001b[2K';

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/**
 * What a command says. People read lines: results on stdout, everything else on stderr. With
 * `--json` stdout carries exactly one document, the result or the error, and stderr stays quiet.
 */
export class Output {
  readonly json: boolean;
  readonly #streams: Streams;
  readonly #warnings: string[] = [];
  /** Work that is shown. */
  #working = false;
  /** The cursor stands behind a spinner. */
  #spinning = false;

  constructor(streams: Streams, json: boolean) {
    this.#streams = streams;
    this.json = json;
  }

  get interactive(): boolean {
    return !this.json && this.#streams.stderr.isTTY === true;
  }

  /** A line of the result. */
  print(line = ''): void {
    this.#clearSpinner();
    if (!this.json) this.#streams.stdout.write(`${line}\n`);
  }

  /** A line about what is going on. */
  note(line: string): void {
    this.#clearSpinner();
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

  /**
   * Shows that a piece of work goes on, until it has ended in one way or the other; its error is for
   * the caller. A terminal shows a spinner; elsewhere there is a line when it takes long and one when
   * it is done. Work inside of work that is shown is not shown again.
   */
  async during<T>(label: string, work: () => Promise<T>, shown: Shown<T> = {}): Promise<T> {
    if (this.json || this.#working) return work();
    const started = performance.now();
    const took = () => performance.now() - started;
    this.#working = true;
    const stop = this.#draw(label, took, shown.quick === true ? NOTICED_MS : 0);
    let mark = this.paint('31', '✘');
    let note = '';
    try {
      const result = await work();
      mark = this.paint('32', '✔');
      if (shown.note !== undefined) note = `  ${shown.note(result)}`;
      return result;
    } finally {
      stop();
      this.#working = false;
      this.#clearSpinner();
      const silent = shown.quick === true && took() < NOTICED_MS;
      if (!silent) this.note(`${mark} ${label} (${(took() / 1000).toFixed(1)} s)${note}`);
    }
  }

  /** Draws until the function that it returns is called. @param after milliseconds without a spinner */
  #draw(label: string, took: () => number, after: number): () => void {
    if (!this.interactive) {
      const timer = setTimeout(() => this.note(`… ${label}`), NOTICED_MS);
      return () => clearTimeout(timer);
    }
    let frame = 0;
    const draw = () => {
      if (took() < after) return;
      frame += 1;
      const seconds = (took() / 1000).toFixed(1);
      const spinner = SPINNER[frame % SPINNER.length] ?? '';
      this.#streams.stderr.write(`\r${spinner} ${label} ${seconds} s`);
      this.#spinning = true;
    };
    // Work that blocks this process is announced all the same.
    draw();
    const timer = setInterval(draw, REDRAW_MS);
    return () => clearInterval(timer);
  }

  #clearSpinner(): void {
    if (this.#spinning) this.#streams.stderr.write(CLEAR_LINE);
    this.#spinning = false;
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
