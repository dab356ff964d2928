#!/usr/bin/env bash
# Installs (when the lock changed), builds, checks and tests all packages of sdk/, without a terminal.
# The last line is `N passed, N failed, N skipped`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

stamp=node_modules/.alga-lock
state=$(sha256sum package-lock.json | cut -d' ' -f1)-$(node --version)
if [[ ! -e $stamp || $(<"$stamp") != "$state" ]]; then
  npm ci --no-audit --no-fund
  printf '%s' "$state" >"$stamp"
fi

npm run --silent build
npm run --silent generate:check -w runtime-bindings
npm run --silent typecheck
npm run --silent lint
npm run --silent fmt:check

reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
status=0
for workspace in runtime-bindings iframe-sdk alga-cli samples; do
  (cd "$workspace" && NO_COLOR=1 npx --no-install vitest run --reporter=default \
    --reporter=json --outputFile="$reports/$workspace.json") || status=1
done

node --input-type=module - "$reports" <<'JS'
import { readdirSync, readFileSync } from 'node:fs';
const total = { passed: 0, failed: 0, skipped: 0 };
for (const name of readdirSync(process.argv[2])) {
  const report = JSON.parse(readFileSync(`${process.argv[2]}/${name}`, 'utf8'));
  total.passed += report.numPassedTests;
  total.failed += report.numFailedTests + (report.success || report.numFailedTests ? 0 : 1);
  total.skipped += report.numPendingTests + report.numTodoTests;
  for (const { assertionResults } of report.testResults) {
    for (const { status, fullName } of assertionResults) {
      if (['pending', 'skipped', 'todo'].includes(status)) console.log(`skipped: ${fullName}`);
    }
  }
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
JS
exit "$status"
