// Worker thread of `alga build`, `alga dev` and `alga validate`: asks TypeScript for promises that
// nobody awaits. The compiler needs a second or two of processor time, which here blocks
// neither progress nor the making of the component.
import { parentPort, workerData } from 'node:worker_threads';

import { findFloatingPromises } from '../dist/build/floating-promises.js';

parentPort.postMessage(findFloatingPromises(workerData.root, workerData.entry));
