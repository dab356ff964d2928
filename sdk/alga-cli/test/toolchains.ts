import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/**
 * The tools of the other guest languages. Those that tests/guests/toolchains.sh keeps in the cache are
 * put in front of PATH, for this process and its children.
 */
const CACHE = process.env['ALGA_CACHE'] ?? join(homedir(), '.cache', 'alga');
const KEPT = join(CACHE, 'guest-tools');

if (existsSync(join(KEPT, 'bin'))) {
  process.env['PATH'] = [join(KEPT, 'bin'), process.env['PATH'] ?? ''].join(delimiter);
  process.env['CARGO_TARGET_DIR'] ??= join(KEPT, 'target');
}

export type Language = 'rust' | 'python' | 'cpp';

const GET = 'run tests/guests/toolchains.sh';

function installed(...names: string[]): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return names.some((name) => folders.some((folder) => existsSync(join(folder, name))));
}

const REASONS: Record<Language, () => string | undefined> = {
  rust: () => {
    if (!installed('cargo') || !installed('rustc')) return `there is no cargo: ${GET}`;
    const { stdout } = spawnSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' });
    const library = join(stdout.trim(), 'lib', 'rustlib');
    const target = existsSync(join(library, 'wasm32-unknown-unknown', 'lib'));
    if (target || existsSync(join(library, 'src', 'rust', 'library'))) return undefined;
    return `Rust has no library for wasm32-unknown-unknown: ${GET}`;
  },
  python: () => (installed('componentize-py') ? undefined : `there is no componentize-py: ${GET}`),
  cpp: () => {
    const clang = installed('clang++', 'clang++-19') && existsSync('/usr/include/wasm32-wasi');
    return clang ? undefined : 'there is no clang with wasi-libc (apt-packages.txt)';
  },
};

/** Why components of a language cannot be built here, for the title of a test; or undefined. */
export function missing(language: Language): string | undefined {
  return REASONS[language]();
}

/** A title that says why its test is skipped. */
export function titled(title: string, reason: string | undefined): string {
  return reason === undefined ? title : `${title} [skipped: ${reason}]`;
}
