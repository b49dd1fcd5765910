export const pythonServices: Readonly<Record<string, string>>;
export function serviceFolder(name: string): string;
