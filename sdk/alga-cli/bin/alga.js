#!/usr/bin/env node
// Written so that old versions of Node.js read it too, and say what is wrong in words.
var version = process.versions.node;
if (Number(version.split('.')[0]) < 20) {
  console.error('error alga needs Node.js 20 or newer; this is ' + version + ' [node.too_old]');
  console.error(
    '  → install a newer one from your system, from nodejs.org, or with a version manager',
  );
  process.exitCode = 1;
} else {
  process.stdout.on('error', function (error) {
    // `alga logs | head`: whoever reads has read enough.
    if (error.code === 'EPIPE') process.exit();
    console.error('error Cannot write the output: ' + error.message + ' [system.output]');
    console.error('  → make room, or send it somewhere else');
    process.exit(1);
  });
  // Nobody is left to be told.
  process.stderr.on('error', function () {});
  import('../dist/main.js')
    .then(function (alga) {
      return alga.main(process.argv.slice(2));
    })
    .then(function (code) {
      process.exitCode = code;
    });
}
