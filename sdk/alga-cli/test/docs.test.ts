import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { contractFile, PACKAGE_ROOT } from '../src/contracts.js';
import { createProgram } from '../src/main.js';
import { cliReference, leaves, manifestReference } from '../src/reference-docs.js';
import { testEnvironment } from './fixture.js';

const DOCS = join(PACKAGE_ROOT, '..', 'docs');
const program = createProgram(testEnvironment('/'));
const commands = leaves(program);

const read = (name: string) => readFileSync(join(DOCS, name), 'utf8');

/** The `alga …` lines in the shell examples of a page, without comments and pipes. */
function examples(page: string): string[] {
  const blocks = read(page).match(/^( *)```sh\n[\s\S]*?^\1```/gm) ?? [];
  return blocks
    .flatMap((block) => block.replaceAll('\\\n', ' ').split('\n'))
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .flatMap((line) => line.split(/\s+(?:\||&&)\s+/))
    .filter((line) => line.startsWith('alga '));
}

/** Splits as a shell does, as far as the examples need it. */
function split(line: string): string[] {
  return (line.match(/'[^']*'|"[^"]*"|[^\s<>]+/g) ?? []).map((word) =>
    word.replace(/^['"]|['"]$/g, ''),
  );
}

const pages = readdirSync(DOCS).filter((name) => name.endsWith('.md'));

describe('documentation', () => {
  test('the CLI reference is what the command says about itself', () => {
    expect(read('cli-reference.md')).toBe(cliReference(program));
  });

  test('the manifest reference is what the schema says', () => {
    const schema = readFileSync(contractFile('schema/manifest.schema.json'), 'utf8');
    const value = JSON.parse(schema) as Parameters<typeof manifestReference>[0];
    expect(read('manifest-reference.md')).toBe(manifestReference(value));
  });

  test('the handler guide names every response header that the gateway passes on', () => {
    const source = readFileSync(join(PACKAGE_ROOT, '../../src/gateway/headers.cc'), 'utf8');
    const [, list = ''] = /kAnswered =([^;]+);/.exec(source) ?? [];
    const names = [...list.matchAll(/"([a-z-]+)"/g)].map(([, name = '']) => name);
    expect(names).toContain('content-type');
    const guide = read('handler-guide.md');
    const [, said = ''] = /Of the headers of a response,([^.]+)\./.exec(guide) ?? [];
    const named = [...said.matchAll(/`([a-z-]+)`/g)].map(([, name = '']) => name);
    expect(named.sort()).toEqual([...names, 'cache-control', 'x-ext-'].sort());
  });

  test('the handler guide names every method of every capability', () => {
    const source = readFileSync(
      join(PACKAGE_ROOT, '../runtime-bindings/src/capabilities.ts'),
      'utf8',
    );
    const guide = read('handler-guide.md');
    for (const capability of ['Config', 'Secrets', 'Storage', 'Ui', 'User']) {
      const [, body = ''] =
        new RegExp(`interface ${capability} \\{([^]*?)\\n\\}`).exec(source) ?? [];
      const methods = [...body.matchAll(/^ {2}(\w+)[<(]/gm)].map(([, name = '']) => name);
      expect(methods.length, capability).toBeGreaterThan(0);
      for (const method of methods) {
        expect(guide).toContain(`| \`${capability.toLowerCase()}.${method}(`);
      }
    }
  });

  test('there are examples to check', () => {
    expect(pages.flatMap(examples).length).toBeGreaterThan(30);
  });

  test.each(pages.flatMap((page) => examples(page).map((line) => [page, line] as const)))(
    '%s: %s',
    (_page, line) => {
      const words = split(line);
      const found = commands
        .filter(({ name }) => `${words.join(' ')} `.startsWith(`${name} `))
        .sort((a, b) => b.name.length - a.name.length)[0];
      expect(found, 'a command of that name').toBeDefined();
      const { command, name } = found!;
      const { operands, unknown } = command.parseOptions(words.slice(name.split(' ').length));
      expect(unknown).toEqual([]);
      const required = command.registeredArguments.filter((argument) => argument.required).length;
      const variadic = command.registeredArguments.some((argument) => argument.variadic);
      expect(operands.length).toBeGreaterThanOrEqual(required);
      if (!variadic)
        expect(operands.length).toBeLessThanOrEqual(command.registeredArguments.length);
    },
  );

  test.each(pages)('%s: its links lead somewhere', (page) => {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target)) continue;
      expect(() => readFileSync(join(DOCS, target)), target).not.toThrow(/ENOENT/);
    }
  });
});
