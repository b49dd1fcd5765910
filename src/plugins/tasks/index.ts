import {classification} from './classification.ts';
import {regression} from './regression.ts';

export const tasks = [classification, regression];
