/** The copy of TensorFlow.js that sdq computes with, for plugins: `import * as tf from 'sdq/tfjs'`. */
export * from '@tensorflow/tfjs-core';
