import {stripes} from './stripes.js';
import {tinyNet} from './tiny-net.js';

/** @type {import('sdq').RegisterHook} */
export default async function register({registry}) {
  registry.add(stripes);
  registry.add(tinyNet);
}
