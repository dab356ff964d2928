import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';

import { tokenizer, tokTypes } from 'acorn';
import { transform, type Loader, type Plugin } from 'esbuild';
import MagicString from 'magic-string';
import rewritePattern from 'regexpu-core';

const LOADERS: Record<string, Loader> = {
  '.ts': 'ts',
  '.tsx': 'tsx',
  '.mts': 'ts',
  '.cts': 'ts',
  '.jsx': 'jsx',
};

/**
 * Rewrites `\p{…}` in regular expression literals to plain character classes: the engine is built
 * without Unicode property tables and would refuse the whole module.
 */
export function regexpPlugin(): Plugin {
  return {
    name: 'alga-regexp',
    setup(build) {
      build.onLoad({ filter: /\.[mc]?[jt]sx?$/ }, async ({ path }) => {
        const source = await readFile(path, 'utf8');
        if (!/\\[pP]\{/.test(source)) return undefined;
        const loader = LOADERS[extname(path)];
        if (loader === undefined) return { contents: withoutProperties(source), loader: 'js' };
        const plain = await transform(source, {
          loader,
          sourcefile: path,
          sourcemap: 'inline',
          target: 'esnext',
          format: 'esm',
        });
        return { contents: withoutProperties(plain.code), loader: 'js' };
      });
    },
  };
}

/**
 * The same module with every affected literal rewritten. Lines stay where they are, so that a
 * source map of the text still names the right line.
 */
export function withoutProperties(code: string): string {
  const edited = new MagicString(code);
  for (const literal of regexpLiterals(code)) {
    if (!/\\[pP]\{/.test(literal.pattern)) continue;
    const pattern = rewritePattern(literal.pattern, literal.flags, {
      unicodePropertyEscapes: 'transform',
    });
    edited.update(literal.start, literal.end, `/${pattern}/${literal.flags}`);
  }
  return edited.toString();
}

interface Literal {
  start: number;
  end: number;
  pattern: string;
  flags: string;
}

function* regexpLiterals(code: string): Generator<Literal> {
  const tokens = tokenizer(code, { ecmaVersion: 'latest', sourceType: 'module' });
  for (const token of tokens) {
    if (token.type !== tokTypes.regexp) continue;
    // Acorn's declarations leave out the value that a token carries.
    const { value } = token as unknown as { value: { pattern: string; flags: string } };
    yield { start: token.start, end: token.end, ...value };
  }
}
