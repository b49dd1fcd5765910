import {describe, expect, test} from '@jest/globals';

import {layerTable} from '../../../../src/graph/layer-table.ts';
import {models} from '../../../../src/plugins/models/index.ts';
import type {ModelContext} from '../../../../src/plugin-api/registry.ts';

function table(name: string, options: Record<string, unknown> = {}, context: Partial<ModelContext> = {}) {
  const model = models.find((definition) => definition.name === name)!;
  return layerTable(model.build({...model.defaults, ...context}, options));
}

describe('parameters and multiply-accumulates are the published ones', () => {
  // akamaster/pytorch_resnet_cifar10 (option A, counts by PyTorch); torchvision's model pages; He et al., 2015.
  test.each([
    ['resnet20', {}, 269_722, 40_551_040],
    ['resnet32', {}, 464_154, 68_862_592],
    ['resnet44', {}, 658_586, 97_174_144],
    ['resnet56', {}, 853_018, 125_485_696],
    // Option B adds two 1 × 1 convolutions with batch-norm: 272,474 parameters and 40.81 M (chenyaofo/pytorch-cifar-models).
    ['resnet20', {shortcut: 'B'}, 272_474, 40_813_184],
    ['resnet18', {}, 11_689_512, 1_814_073_344],
    ['resnet34', {}, 21_797_672, 3_663_761_408],
    ['resnet50', {}, 25_557_032, 4_089_184_256],
    ['mobilenet-v2', {}, 3_504_872, 300_774_272],
    ['mobilenet-v3-large', {}, 5_483_032, 216_589_760],
    ['mobilenet-v3-small', {}, 2_542_856, 56_510_400],
    ['efficientnet-b0', {}, 5_288_548, 385_814_752],
    ['vgg11', {batchNorm: false}, 132_863_336, 7_609_090_048],
    ['vgg16', {batchNorm: false}, 138_357_544, 15_470_264_320],
    ['vgg16', {}, 138_365_992, 15_470_264_320],
    // timm's vit_tiny, deit_small and vit_base_patch16_224.
    ['vit', {}, 5_717_416, 1_253_683_200],
    ['vit', {width: 384, heads: 6}, 22_050_664, 4_598_882_304],
    ['vit', {width: 768, heads: 12}, 86_567_656, 17_563_828_224],
    // darknet's yolov4-tiny.cfg for COCO: 6.06 M parameters and 6.91 BFLOPs (of two for a multiply-accumulate).
    ['yolov4-tiny', {}, 6_056_606, 3_453_938_176],
  ])('%s %j', (name, options, parameters, macs) => {
    const {parameters: found, macs: work} = table(name, options);
    expect({parameters: found, macs: work}).toEqual({parameters, macs});
  });

  test('resnet18 with the stem for small images equals kuangliu/pytorch-cifar', () => {
    const {parameters, macs} = table('resnet18', {stem: 'cifar'}, {classes: 10, inputShape: [3, 32, 32]});
    expect({parameters, macs}).toEqual({parameters: 11_173_962, macs: 555_422_720});
  });

  test.each([
    // Million multiply-accumulates of the authors' checkpoints at 224 × 224 (table in Keras' documentation).
    [0.35, 59],
    [0.5, 97],
    [0.75, 209],
    [1.3, 509],
    [1.4, 582],
  ])('mobilenet-v2 at width %p', (width, millions) => {
    expect(Math.round(table('mobilenet-v2', {width}).macs / 1e6)).toBe(millions);
  });
});

describe('the layer table', () => {
  test('knows which inputs can be negative: the image and the linear bottlenecks', () => {
    const signed = table('mobilenet-v2')
      .layers.filter(({inputSigned}) => inputSigned)
      .map(({name}) => name);
    expect(signed[0]).toBe('features.0.0');
    // Every block's first convolution reads a linear bottleneck, and so does the last 1 × 1 convolution.
    const afterBottleneck = Array.from({length: 16}, (_, index) => `features.${index + 2}.conv.0.0`);
    expect(signed.slice(1)).toEqual([...afterBottleneck, 'features.18.0']);
    const {layers} = table('resnet20');
    expect(layers.filter(({inputSigned}) => inputSigned).map(({name}) => name)).toEqual(['conv1']);
  });

  test('lists shapes, weights and the shared input of each layer', () => {
    const {layers} = table('resnet18');
    expect(layers).toHaveLength(21);
    const first = layers.find(({name}) => name === 'layer2.0.conv1')!;
    const past = layers.find(({name}) => name === 'layer2.0.downsample.0')!;
    expect(first.inputValue).toBe(past.inputValue);
    expect(past).toMatchObject({
      op: 'Conv',
      weight: 'layer2.0.downsample.0.weight',
      params: 64 * 128,
      macs: 64 * 128 * 28 * 28,
      inputShape: [64, 56, 56],
      outputShape: [128, 28, 28],
    });
    expect(layers.at(-1)).toMatchObject({name: 'fc', op: 'Gemm', params: 512_000, macs: 512_000, inputShape: [512]});
  });

  test('the models for small images take the size and channels of the data set', () => {
    expect(table('cnn-small').layers).toHaveLength(8);
    expect(table('mobilenet-v2', {stem: 'cifar'}, {inputShape: [3, 32, 32]}).layers.at(-2)!.inputShape).toEqual([
      320, 4, 4,
    ]);
    expect(table('resnet20', {}, {inputShape: [1, 28, 28]}).layers[0]!.inputShape).toEqual([1, 28, 28]);
  });
});
