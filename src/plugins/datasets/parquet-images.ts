/** Images and classes in Parquet files, as Hugging Face stores image data sets: a column of `bytes` and `path`, a column of classes. */
import {openParquetFile, rowGroups, type ParquetFile} from '../../data/parquet-file.ts';
import {parquetError} from '../../data/shard-reader.ts';
import {invalidInput} from '../../errors.ts';
import {item} from '../../lookup.ts';
import {
  checkedLabel,
  parquetImages,
  shardDataset,
  type ShardFormat,
  type ShardGroup,
  type ShardOptions,
} from './shard-files.ts';

/** 1 GiB of images in a row group; more is refused before memory is used. */
const maxGroupBytes = 2 ** 30;

const open = (file: string): Promise<ParquetFile> => openParquetFile(file, (message) => parquetError(file, message));

async function scan(
  file: string,
  {image = 'image', label = 'label'}: ShardOptions,
  classes: readonly string[] | undefined,
): Promise<ShardGroup[]> {
  const {metadata, columns, scan: scanColumns} = await open(file);
  for (const [option, column] of Object.entries({image, label})) {
    if (columns.includes(column)) continue;
    throw invalidInput(
      'shard-invalid',
      `${file} has no column ${JSON.stringify(column)}; it has ${columns.join(', ')}.`,
      [`--set data.options.${option}=COLUMN`],
    );
  }
  const readColumn = await scanColumns([label]);
  const groups: ShardGroup[] = [];
  for (const [index, {start, end}] of rowGroups(metadata).entries()) {
    if (start === end) continue;
    let bytes = 0;
    for (const {meta_data: chunk} of item(metadata.row_groups, index).columns) {
      if (chunk?.path_in_schema[0] === image) bytes += Number(chunk.total_uncompressed_size);
    }
    if (bytes > maxGroupBytes) {
      throw invalidInput(
        'shard-invalid',
        `${file}, rows ${start + 1} to ${end}: a row group with ${bytes} bytes of images; at most ${maxGroupBytes} are read.`,
        ['Write the file with `row_group_size=100`, as Hugging Face `datasets` does.'],
      );
    }
    const values = (await readColumn(label, start, end)) as ArrayLike<unknown>;
    if (values.length !== end - start) throw parquetError(file, `, row ${start + values.length + 1}: the column ends.`);
    const labels = Array.from(values, (value, i) => checkedLabel(value, `${file}, row ${start + i + 1}`, classes));
    groups.push({file, row: start, labels, bytes});
  }
  return groups;
}

/** Of the features that Hugging Face `datasets` writes into the file. */
function classNames(features: unknown, label: string): readonly string[] | undefined {
  const parsed = features as {info?: {features?: Readonly<Record<string, {names?: unknown}>>}} | null;
  const names = parsed?.info?.features?.[label]?.names;
  return Array.isArray(names) && names.every((name) => typeof name === 'string') ? names : undefined;
}

const format: ShardFormat<ShardGroup> = {
  name: 'parquet-images',
  summary: 'Your own images in Parquet files of data.directory, as Hugging Face stores image data sets.',
  extension: '.parquet',
  properties: {
    image: {type: 'string', minLength: 1, default: 'image', description: 'The column with the images.'},
    label: {type: 'string', minLength: 1, default: 'label', description: 'The column with the classes, from 0.'},
  },
  scan,
  images: (groups, {image = 'image'}: ShardOptions) => parquetImages(image, groups),
  async classes(_, files, {label = 'label'}) {
    const {metadata} = await open(item(files, 0));
    const text = metadata.key_value_metadata?.find(({key}) => key === 'huggingface')?.value;
    try {
      return text === undefined ? undefined : classNames(JSON.parse(text), label);
    } catch {
      return undefined; // classes are then numbers
    }
  },
};

export const parquetImageFiles = shardDataset(format);
