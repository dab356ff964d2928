import { readFile } from 'node:fs/promises';

import { contractFile } from '../contracts.js';
import { Failure } from '../failure.js';
import { wasmKind } from '../component/binary.js';

/**
 * The world between the adapter and the host, as in bridge/src/legacy.rs: the adapter moves bytes
 * only, the host reads and writes the JSON in them. A test compares the two.
 */
export const LEGACY_CONTRACT = `
package alga:legacy@1.0.0;
interface host {
  log-info: func(message: list<u8>);
  log-error: func(message: list<u8>);
  fetch: func(request: list<u8>) -> result<list<u8>, s32>;
}
interface guest {
  invoke: func(request: list<u8>) -> result<list<u8>, s32>;
}
world adapter {
  import host;
  export guest;
}
`;

/**
 * Makes a component of a core module that follows the reference's first ABI, with the adapter that
 * publishing uses. The module itself is not touched. Throws a Failure when it does not follow it.
 *
 * @param name of the module, as messages show it
 */
export async function wrapLegacyModule(
  module: Uint8Array,
  name = 'The module',
): Promise<Uint8Array> {
  const kind = wasmKind(module);
  if (kind !== 'core-module') {
    const is = kind === 'component' ? 'a component already' : 'not a WebAssembly file';
    throw new Failure('migrate.not_a_core_module', `${name} is ${is}`, {
      hint:
        kind === 'component'
          ? 'components need no wrapping: put it at dist/main.wasm'
          : 'name the .wasm file that the bundle of the reference holds',
    });
  }
  // Large, and of no use to other commands.
  const { componentEmbed, componentNew, parse } = await import('@bytecodealliance/jco');
  const text = await readFile(contractFile('generated/legacy-adapter.wat'), 'utf8');
  const adapter = await componentEmbed({
    binary: await parse(text),
    witSource: LEGACY_CONTRACT,
    world: 'adapter',
  });
  try {
    return await componentNew(module, [['alga', adapter]]);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure('migrate.cannot_wrap', reason.split('\n')[0] ?? reason, {
      hint: 'the module must export memory, alloc and handler, and import nothing but alga.log_info, alga.log_error and alga."http.fetch"',
      details: { reason },
    });
  }
}
