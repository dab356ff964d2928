import { watch, type FSWatcher } from 'node:fs';
import { join, sep } from 'node:path';

/** Editors write a file in several steps; changes within this time are one change. */
const QUIET_MS = 80;

const IGNORED = new Set(['node_modules', 'dist', '.alga', '.git', 'coverage']);

/** Calls back, once per burst, when something in the project changed that a build depends on. */
export class ProjectWatcher {
  readonly #watcher: FSWatcher;
  #timer: NodeJS.Timeout | undefined;

  constructor(root: string, onChange: (files: string[]) => void) {
    const changed = new Set<string>();
    this.#watcher = watch(root, { recursive: true }, (_event, name) => {
      if (name === null || name.split(sep).some((part) => IGNORED.has(part))) return;
      if (name.endsWith('~') || name.endsWith('.swp') || name.startsWith('bundle.tar.zst')) return;
      changed.add(join(root, name));
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        const files = [...changed];
        changed.clear();
        onChange(files);
      }, QUIET_MS);
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#watcher.close();
  }
}
