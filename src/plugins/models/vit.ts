/**
 * Vision transformers: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, and DeiT (Touvron et al., 2021), which is
 * the same network. Names of nodes and parameters are timm's (`vit_tiny_patch16_224`, `deit_small_patch16_224`), whose
 * weights load as they are.
 */
import {invalidInput, type SdqError} from '../../errors.ts';
import {graphBuilder, type GraphBuilder} from '../../graph/builder.ts';
import {item} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';

interface Options {
  /** Height and width of a patch, pixels. Default 16. */
  readonly patch?: number;
  /** Numbers for a token. Default 192: ViT-Tiny. */
  readonly width?: number;
  /** Number of blocks. Default 12. */
  readonly depth?: number;
  /** Heads of each attention; they divide the width. Default 3. */
  readonly heads?: number;
  /** Width of the hidden layer of a block's MLP, in widths. Default 4. */
  readonly mlpRatio?: number;
}

/** N(0, 0.02²), as the authors draw weights and tokens. */
const drawn = {kind: 'kaiming-normal', fan: 2 / 0.02 ** 2} as const;
const zero = {kind: 'constant', value: 0} as const;
/** The authors'; PyTorch's default is 1e-5. */
const epsilon = 1e-6;

function attention(net: GraphBuilder, name: string, x: string, heads: number): string {
  const [tokens, width] = net.shape(x) as [number, number];
  const head = width / heads;
  const all = net.linear(`${name}.qkv`, x, {features: 3 * width, weight: drawn, bias: zero});
  const parts = net.node('Reshape', `${name}.parts`, [all], {shape: [0, tokens, 3, heads, head]});
  const order = net.node('Transpose', `${name}.heads`, [parts], {perm: [2, 0, 3, 1, 4]});
  const [q, k, v] = ['q', 'k', 'v'].map((part, index) =>
    net.node('Gather', `${name}.${part}`, [order], {axis: 0, indices: [index], indices_shape: []}),
  ) as [string, string, string];
  const scale = net.parameter({
    name: `${name}.scale`,
    shape: [],
    role: 'constant',
    initializer: {kind: 'constant', value: head ** -0.5},
  });
  const scaled = net.node('Mul', `${name}.scaled`, [q, scale]);
  const columns = net.node('Transpose', `${name}.columns`, [k], {perm: [0, 1, 3, 2]});
  const scores = net.node('MatMul', `${name}.scores`, [scaled, columns]);
  const weights = net.node('Softmax', `${name}.softmax`, [scores], {axis: -1});
  const mixed = net.node('MatMul', `${name}.mixed`, [weights, v]);
  const rows = net.node('Transpose', `${name}.rows`, [mixed], {perm: [0, 2, 1, 3]});
  const whole = net.node('Reshape', `${name}.whole`, [rows], {shape: [0, tokens, width]});
  return net.linear(`${name}.proj`, whole, {features: width, weight: drawn, bias: zero});
}

export const vit: ModelDefinition<Options> = {
  kind: 'model',
  name: 'vit',
  summary: 'Vision transformer (ViT, DeiT): patches as tokens, attention; ViT-Tiny by default.',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      patch: {type: 'integer', minimum: 1, default: 16, description: 'Height and width of a patch, pixels.'},
      width: {type: 'integer', minimum: 1, default: 192, description: 'Numbers for a token.'},
      depth: {type: 'integer', minimum: 1, maximum: 128, default: 12, description: 'Number of blocks.'},
      heads: {type: 'integer', minimum: 1, default: 3, description: 'Heads of each attention; they divide the width.'},
      mlpRatio: {
        type: 'number',
        exclusiveMinimum: 0,
        default: 4,
        description: "Width of the hidden layer of a block's MLP, in widths.",
      },
    },
  },
  defaults: {classes: 1000, inputShape: [3, 224, 224]},

  build({classes, inputShape}, {patch = 16, width = 192, depth = 12, heads = 3, mlpRatio = 4}) {
    const [height, columns] = [item(inputShape, 1), item(inputShape, 2)];
    const refuse = (message: string): SdqError => invalidInput('model-options', message);
    if (width % heads !== 0) throw refuse(`model.options.heads is ${heads}; it must divide the width, ${width}.`);
    if (height % patch !== 0 || columns % patch !== 0) {
      throw refuse(`model.options.patch is ${patch}; it must divide the image, ${height} × ${columns}.`);
    }
    const net = graphBuilder('vit', inputShape);
    const count = (height / patch) * (columns / patch);
    const patches = net.conv('patch_embed.proj', net.input, {
      ...{channels: width, kernel: patch, stride: patch, padding: 0, bias: true},
      fan: 'in',
    });
    const grid = net.node('Reshape', 'patch_embed.flatten', [patches], {shape: [0, width, count]});
    const tokens = net.node('Transpose', 'patch_embed.tokens', [grid], {perm: [0, 2, 1]});
    const token = net.parameter({name: 'cls_token', shape: [1, 1, width], role: 'bias', initializer: drawn});
    const first = net.node('Expand', 'cls', [token], {shape: [-1, 1, width]});
    const joined = net.node('Concat', 'tokens', [first, tokens], {axis: 1});
    const place = net.parameter({name: 'pos_embed', shape: [1, count + 1, width], role: 'bias', initializer: drawn});
    let x = net.node('Add', 'embedded', [joined, place]);
    for (let index = 0; index < depth; index++) {
      const name = `blocks.${index}`;
      const attended = attention(net, `${name}.attn`, net.layerNorm(`${name}.norm1`, x, epsilon), heads);
      x = net.node('Add', `${name}.add1`, [x, attended]);
      let y = net.layerNorm(`${name}.norm2`, x, epsilon);
      y = net.linear(`${name}.mlp.fc1`, y, {features: Math.floor(width * mlpRatio), weight: drawn, bias: zero});
      y = net.node('Gelu', `${name}.mlp.act`, [y]);
      y = net.linear(`${name}.mlp.fc2`, y, {features: width, weight: drawn, bias: zero});
      x = net.node('Add', `${name}.add2`, [x, y]);
    }
    x = net.layerNorm('norm', x, epsilon);
    const pooled = net.node('Gather', 'cls_output', [x], {axis: 1, indices: [0], indices_shape: []});
    return net.build(net.linear('head', pooled, {features: classes, weight: drawn, bias: zero}));
  },
};
