import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { contractFile } from '../contracts.js';
import type { Engine } from './engine.js';
import { QUICKJS_IMPORTS, QUICKJS_WIT } from './quickjs-wit.js';
import { makeFolder } from '../make-folder.js';
import { interfacesFor, PACKAGE } from '../manifest/capabilities.js';
import { writeFile } from '../write-file.js';

/** Name of the world that a project's component has. */
export const WORLD = 'extension';

const [packageName = '', packageVersion = ''] = PACKAGE.split('@');

/** The import specifier of an interface, for example `alga:extension/http@1.0.0`. */
export function specifier(interfaceName: string): string {
  return `${packageName}/${interfaceName}@${packageVersion}`;
}

/**
 * The WIT of a world that imports exactly what the capabilities open, so that the imports of the
 * component say what the manifest says.
 */
export function worldText(
  capabilities: Iterable<string>,
  engine: Engine = 'starlingmonkey',
): string {
  const specifiers = interfacesFor(capabilities).map(specifier);
  if (engine === 'quickjs') specifiers.push(...Object.values(QUICKJS_IMPORTS));
  const imports = specifiers.map((name) => `  import ${name};`);
  return `package project:extension;

world ${WORLD} {
  use ${specifier('types')}.{execute-request, execute-response};

${imports.join('\n')}

  export handler: func(request: execute-request) -> execute-response;
}
`;
}

/** Writes a complete WIT folder for the capabilities and returns its path. */
export async function writeWorld(
  directory: string,
  capabilities: string[],
  engine: Engine = 'starlingmonkey',
): Promise<string> {
  const wit = join(directory, 'wit');
  await rm(wit, { recursive: true, force: true });
  await makeFolder(join(wit, 'deps', 'alga-extension'));
  await writeFile(join(wit, 'world.wit'), worldText(capabilities, engine));
  if (engine === 'quickjs') {
    for (const [name, text] of Object.entries(QUICKJS_WIT)) {
      await makeFolder(join(wit, 'deps', name));
      await writeFile(join(wit, 'deps', name, `${name}.wit`), text);
    }
  }
  await cp(
    contractFile('wit/extension-runner.wit'),
    join(wit, 'deps', 'alga-extension', 'extension-runner.wit'),
  );
  return wit;
}

/** Interface `ui-proxy` as the identifier `uiProxy`, as the runtime's HostImports names it. */
export function identifier(interfaceName: string): string {
  return interfaceName.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * The module that becomes the component: connects the author's export with the imports.
 *
 * @param entry absolute path of the author's module
 */
export function entryModule(
  entry: string,
  capabilities: Iterable<string>,
  engine: Engine = 'starlingmonkey',
): string {
  const names = interfacesFor(capabilities);
  const imports = names.map((name) => `import * as ${identifier(name)} from '${specifier(name)}';`);
  const host = `{ ${names.map(identifier).join(', ')} }`;
  const author = `import * as extension from ${JSON.stringify(entry)};`;
  const exported = `const exported = extension['default'] ?? extension['handler'];`;
  if (engine === 'starlingmonkey') {
    return `import { serve } from '@alga/extension-runtime/guest';
${author}
${imports.join('\n')}

${exported}
export const handler = serve(exported, ${host});
`;
  }
  // The prelude puts promises and the web's globals in place before any other module runs.
  const wasi = Object.entries(QUICKJS_IMPORTS).map(
    ([name, from]) => `import * as wasi_${name} from '${from}';`,
  );
  return `import '@alga/extension-runtime/quickjs/prelude';
import { serveQuickJs } from '@alga/extension-runtime/quickjs';
${author}
${[...imports, ...wasi].join('\n')}

${exported}
const wasi = { ${Object.keys(QUICKJS_IMPORTS)
    .map((name) => `${name}: wasi_${name}`)
    .join(', ')} };
export const handler = serveQuickJs(exported, ${host}, wasi);
`;
}
