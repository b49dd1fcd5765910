export const pythonServices: Readonly<Record<string, string>>;
export function serviceFolder(name: string): string;
export function isInstalled(name: string): boolean;
export function readyFile(name: string): string;
export function readyText(name: string): string;
export function engineEnvironment(name: string): Readonly<Record<string, string>>;
