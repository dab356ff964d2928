import { readFile } from 'node:fs/promises';

import { parseTree, type ParseError } from 'jsonc-parser';

import { codeFrame } from './code-frame.js';
import { Failure } from './failure.js';
import { reasonOf } from './system-failure.js';

/** How a JSON file that people write is named in messages. */
export interface JsonFile {
  path: string;
  /** Its name as people know it. */
  shown: string;
  /** Of the Failure when it cannot be read. */
  code: string;
  hint: string;
}

/** The content of a JSON file that need not exist. Throws a Failure that shows the place. */
export async function readJsonFile({ path, shown, code, hint }: JsonFile): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Failure(code, `Cannot read ${shown}: ${reasonOf(cause)}`, { hint, cause });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const errors: ParseError[] = [];
    parseTree(text, errors, { disallowComments: true, allowTrailingComma: false });
    const before = text.slice(0, errors[0]?.offset ?? 0).split(/\r?\n/);
    const [line, column] = [before.length, (before.at(-1) ?? '').length + 1];
    const why =
      text.trim() === ''
        ? 'it is empty'
        : 'it is not valid JSON (comments and trailing commas are not allowed)';
    throw new Failure(code, `${shown}: ${why}`, {
      location: { file: shown, line, column },
      frame: codeFrame(text, line, column),
      hint,
      cause,
    });
  }
}
