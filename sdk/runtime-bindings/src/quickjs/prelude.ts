import { installEnvironment } from './environment.js';

// Has an effect by being imported, before the author's modules and the rest of this library.
installEnvironment();
