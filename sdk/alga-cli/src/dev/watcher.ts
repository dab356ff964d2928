import { readdirSync, statSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';

/** Editors write a file in several steps; changes within this time are one change. */
const QUIET_MS = 80;

const IGNORED = new Set(['node_modules', 'dist', '.alga', '.git', '.venv', 'target', 'coverage']);

/**
 * Calls back, once per burst, when something in the project changed that a build depends on. Watches
 * folders, not files: many editors put a new file in the place of the old one, and a watch of the
 * file itself would go on watching the old one.
 */
export class ProjectWatcher {
  readonly #root: string;
  readonly #onChange: (files: string[]) => void;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #changed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  /** Watches until `close()`. Throws when the root cannot be watched. */
  constructor(root: string, onChange: (files: string[]) => void) {
    this.#root = root;
    this.#onChange = onChange;
    this.#watch(root);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Watches a folder and those below it. */
  #watch(folder: string): void {
    if (this.#watchers.has(folder)) return;
    const watcher = watch(folder, (event, name) => {
      if (name !== null) this.#notice(folder, name, event === 'rename');
    });
    watcher.on('error', () => this.#forget(folder));
    this.#watchers.set(folder, watcher);
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory() && !IGNORED.has(entry.name)) this.#watch(join(folder, entry.name));
    }
  }

  #notice(folder: string, name: string, appeared: boolean): void {
    if (IGNORED.has(name) || isTemporary(name)) return;
    const path = join(folder, name);
    // A folder that appears is watched anew: the one of that name before may be gone.
    if (appeared) this.#forget(path);
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) this.#watch(path);
    this.#changed.add(path);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const files = [...this.#changed];
      this.#changed.clear();
      this.#onChange(files);
    }, QUIET_MS);
  }

  #forget(folder: string): void {
    if (folder === this.#root) return;
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
  }
}

function isTemporary(name: string): boolean {
  // `sed -i` and vim write such a file first and give it the name of the old one.
  if (/^(sed[A-Za-z0-9]{6}|4913)$/.test(name)) return true;
  return /(~|\.swp|\.bak)$/.test(name) || name.startsWith('bundle.tar.zst');
}
