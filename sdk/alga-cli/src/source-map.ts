import { originalPositionFor, sourceContentFor, TraceMap } from '@jridgewell/trace-mapping';

/** A position in the author's own files. Lines and columns start at 1. */
export interface MappedFrame {
  file: string;
  line: number;
  column: number;
  name: string | undefined;
  /** False for frames in installed packages and in generated code. */
  author: boolean;
}

/** The source map of one component. */
export class SourceMap {
  readonly #map: TraceMap;

  /** Throws when the text is not a source map. */
  constructor(text: string) {
    this.#map = new TraceMap(text);
  }

  /** The original position of a line and column (both from 1) of the bundle. */
  original(line: number, column: number): MappedFrame | undefined {
    const found = originalPositionFor(this.#map, { line, column: Math.max(0, column - 1) });
    if (found.source === null) return undefined;
    return {
      file: found.source,
      line: found.line,
      column: found.column + 1,
      name: found.name ?? undefined,
      author: isAuthorFile(found.source),
    };
  }

  sourceOf(file: string): string | undefined {
    return sourceContentFor(this.#map, file) ?? undefined;
  }
}

function isAuthorFile(file: string): boolean {
  return !/(^|\/)(node_modules|\.alga)\//.test(file);
}

/** A position in the bundle, as engines print it: `name@main.js:1:2` or `at name (main.js:1:2)`. */
const FRAME = /(?:^|[\s(@/])main\.js:(\d+):(\d+)/;

/** The frames of a stack trace that lie in the bundle, in order. */
export function mapFrames(stack: string, map: SourceMap): MappedFrame[] {
  return stack.split('\n').flatMap((text) => {
    const at = FRAME.exec(text);
    const frame = at === null ? undefined : map.original(Number(at[1]), Number(at[2]));
    return frame === undefined ? [] : [frame];
  });
}

/** The library's own promises and loop, which QuickJS components run everything through. */
const MACHINERY = /(^|\/)@alga\/extension-runtime\/(src|dist)\/quickjs\//;

/**
 * A log message with every position in the bundle replaced by the author's, without the frames of
 * code that only the build put there.
 */
export function mapStack(message: string, map: SourceMap): string {
  return message
    .split('\n')
    .flatMap((text) => {
      const at = FRAME.exec(text);
      if (at === null) return [text];
      const frame = map.original(Number(at[1]), Number(at[2]));
      if (frame === undefined || MACHINERY.test(frame.file)) return [];
      return [
        text.replace(
          `main.js:${at[1] ?? ''}:${at[2] ?? ''}`,
          `${frame.file}:${frame.line}:${frame.column}`,
        ),
      ];
    })
    .join('\n');
}
