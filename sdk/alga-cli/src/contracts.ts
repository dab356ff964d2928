import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the installed command. */
export const PACKAGE_ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

/**
 * A file of the contracts that the command carries (`wit/…`, `schema/…`). They are copied beside
 * `dist/` when the package is built; in a checkout that was not built yet the originals serve.
 */
export function contractFile(path: string): string {
  const carried = join(PACKAGE_ROOT, path);
  return existsSync(carried) ? carried : join(PACKAGE_ROOT, '..', '..', path);
}
