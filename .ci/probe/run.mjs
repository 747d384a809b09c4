// Runs the function `probe` of the program that the argument names.
import { readFile } from 'node:fs/promises';
import { WASI } from 'node:wasi';

const wasi = new WASI({ version: 'preview1' });
const module = await WebAssembly.compile(await readFile(process.argv[2]));
const needs = WebAssembly.Module.imports(module).some((entry) => entry.module === 'wasi_snapshot_preview1');
const instance = await WebAssembly.instantiate(module, needs ? wasi.getImportObject() : {});
if (needs) wasi.initialize(instance);
const broken = instance.exports.probe();
if (broken !== 0) throw new Error(`claim ${broken} does not hold`);
