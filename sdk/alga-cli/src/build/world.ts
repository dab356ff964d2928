import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { contractFile } from '../contracts.js';
import { interfacesFor, PACKAGE } from '../manifest/capabilities.js';

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
export function worldText(capabilities: Iterable<string>): string {
  const imports = interfacesFor(capabilities).map((name) => `  import ${specifier(name)};`);
  return `package project:extension;

world ${WORLD} {
  use ${specifier('types')}.{execute-request, execute-response};

${imports.join('\n')}

  export handler: func(request: execute-request) -> execute-response;
}
`;
}

/** Writes a complete WIT folder for the capabilities and returns its path. */
export async function writeWorld(directory: string, capabilities: string[]): Promise<string> {
  const wit = join(directory, 'wit');
  await rm(wit, { recursive: true, force: true });
  await mkdir(join(wit, 'deps', 'alga-extension'), { recursive: true });
  await writeFile(join(wit, 'world.wit'), worldText(capabilities));
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
export function entryModule(entry: string, capabilities: Iterable<string>): string {
  const names = interfacesFor(capabilities);
  const imports = names.map((name) => `import * as ${identifier(name)} from '${specifier(name)}';`);
  return `import { serve } from '@alga/extension-runtime/guest';
import * as extension from ${JSON.stringify(entry)};
${imports.join('\n')}

const exported = extension['default'] ?? extension['handler'];
export const handler = serve(exported, { ${names.map(identifier).join(', ')} });
`;
}
