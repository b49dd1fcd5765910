/** Generated from schemas/config.schema.json by `npm run config-types`: the config with its defaults filled in. */

/**
 * sdq.config.yaml: what to quantize, on which images, and how. The only place where a setting and its default are defined.
 */
export interface Config {
  /**
   * Path of this schema, for editors.
   */
  $schema?: string;
  /**
   * The network.
   */
  model?: {
    /**
     * Name of a model (`sdq model list`).
     */
    name: string;
    /**
     * Safetensors or ONNX file of the full-precision weights to start from, under PyTorch names. Without it `sdq run` pretrains.
     */
    weights?: string;
    /**
     * `reset`: the weights are those of a network with other classes; its last layer (of each output that the task learns) starts fresh and `sdq run` pretrains. `keep`: the file's last layer is used.
     */
    head: 'keep' | 'reset';
    /**
     * Options of the model itself, as the model defines them.
     */
    options: {
      [k: string]: unknown;
    };
  };
  /**
   * The labelled images.
   */
  data?: {
    /**
     * Name of a data set (`sdq data list`).
     */
    name: string;
    /**
     * Folder of the files, in place of the cache that `sdq data fetch` fills.
     */
    directory?: string;
    /**
     * Images in one step.
     */
    batchSize: number;
    /**
     * Images at the end of the training split that are held out, or their share, e.g. 0.15; the search and every choice look at these. With 0 the last epoch is kept.
     */
    validation: number;
    /**
     * Only the first so many images of the training split, and of the test split: for a quick try. By default all.
     */
    limit?: number;
    /**
     * Random crops and flips of the training images, as the data set defines them.
     */
    augment: boolean;
    /**
     * Threads that decode image files; the batches have the same bits for any number. auto: as many as the engine leaves of the processors, at least one. More than 4 need the variable UV_THREADPOOL_SIZE.
     */
    workers: 'auto' | number;
    /**
     * Mean and standard deviation per channel of pixels in 0 … 1: the data set's own, those of ImageNet, or given.
     */
    normalization:
      | ('dataset' | 'imagenet')
      | {
          mean: number[];
          std: number[];
        };
    /**
     * Options of the data set itself.
     */
    options: {
      [k: string]: unknown;
    };
  };
  /**
   * What the network learns.
   */
  task: {
    /**
     * Name of a task: `classification`, `regression` (data sets with numbers beside the images), `detection` (with boxes), or a plugin's.
     */
    name: string;
    /**
     * Options of the task itself. `output` of the built-in tasks: the output to learn, of a network with several.
     */
    options: {
      [k: string]: unknown;
    };
  };
  /**
   * What computes.
   */
  engine: {
    /**
     * Name of an engine (`sdq doctor`), or `auto` for the fastest one that is available.
     */
    name: string;
    /**
     * Threads, the main one included; `auto` takes as many as the process may use.
     */
    threads: 'auto' | number;
  };
  /**
   * Grids and scales.
   */
  quantizers: {
    /**
     * Weight quantizer.
     */
    weights: string;
    /**
     * Activation quantizer; inputs that can be negative get `lsq` where this one is unsigned.
     */
    activations: string;
  };
  /**
   * Full-precision training.
   */
  pretrain: {
    /**
     * Passes over the training split.
     */
    epochs: number;
    /**
     * How the weights are updated.
     */
    optimizer: {
      /**
       * `sgd`, `adam` or `adamw` (decoupled weight decay).
       */
      name: 'sgd' | 'adam' | 'adamw';
      /**
       * Learning rate at its highest.
       */
      learningRate: number;
      /**
       * For sgd.
       */
      momentum: number;
      /**
       * For sgd.
       */
      nesterov: boolean;
      /**
       * Decay of the weights; batch-norm parameters, biases and scales have none.
       */
      weightDecay: number;
      /**
       * For adam and adamw.
       */
      beta1: number;
      /**
       * For adam and adamw.
       */
      beta2: number;
    };
    /**
     * The learning rate over time.
     */
    schedule: {
      /**
       * `constant`; `cosine` to 0; `step`, times `factor` at each milestone; `one-cycle`, up and down.
       */
      name: 'constant' | 'cosine' | 'step' | 'one-cycle';
      /**
       * Epochs in which it rises linearly from 0, before everything else.
       */
      warmupEpochs: number;
      /**
       * For step: fractions of the phase.
       */
      milestones: number[];
      /**
       * For step.
       */
      factor: number;
    };
    /**
     * Epochs at the beginning in which only the last layer is trained.
     */
    headEpochs: number;
  };
  /**
   * Phase 1: learns the bitwidth of each layer.
   */
  search: {
    /**
     * The search method. A layer between two bitwidths: `sdq` draws one of them, `interpolation` mixes them. `sensitivity` measures the loss of each bitwidth, without training. `uniform` gives all layers the same.
     */
    method: string;
    /**
     * Weight bitwidths a layer may get.
     */
    candidates: number[];
    /**
     * Where the search ends: every budget named here is kept.
     */
    target: {
      /**
       * Mean bits of a weight over all quantized layers, pinned ones included, weighted by their parameters. 2 where no budget is named.
       */
      meanWeightBits?: number;
      /**
       * Memory of the weights of all quantized layers, KiB.
       */
      sizeKiB?: number;
      /**
       * Bit operations for one sample: the sum of multiply-accumulates × weight bits × activation bits.
       */
      bops?: number;
      /**
       * Time for one sample, ms, as the cost model of the device gives it, or as `latencyTable` has it.
       */
      latencyMs?: number;
      /**
       * Energy for one sample, µJ, as the cost model of the device gives it.
       */
      energyUj?: number;
      /**
       * The device whose latency or energy is meant: a profile's name, or a file that ends in `.json`. Layers get only the bits that it allows. Without it: the only one of `hardware`.
       */
      hardware?: string;
      /**
       * Times of single layers on the device, measured with batch 1 (`sdq hardware measure`): `latencyMs` is then about these.
       */
      latencyTable?: string;
    };
    /**
     * Passes over the training split.
     */
    epochs: number;
    /**
     * Bits of every quantized layer's input; 32 leaves activations in full precision. A list has each layer's learned among them.
     */
    activationBits: number | number[];
    /**
     * Bits of both inputs of a product of two activations, as attention has two of; 32 leaves them in full precision. A list has them searched, each product for itself. Without it: 8, or 32 where `activationBits` is 32.
     */
    attentionBits?: number | number[];
    /**
     * Number of strategies to keep on the way to the target, evenly spaced in cost; 0 keeps only the last.
     */
    pareto: number;
    /**
     * Fixed weight bits by layer name, `*` standing for any text; 32 is full precision. Without it the first layer and the last one of each output have 8.
     */
    pin?: {
      [k: string]: number;
    };
    /**
     * How the weights are updated.
     */
    optimizer: {
      /**
       * `sgd`, `adam` or `adamw` (decoupled weight decay).
       */
      name: 'sgd' | 'adam' | 'adamw';
      /**
       * Learning rate at its highest.
       */
      learningRate: number;
      /**
       * For sgd.
       */
      momentum: number;
      /**
       * For sgd.
       */
      nesterov: boolean;
      /**
       * Decay of the weights; batch-norm parameters, biases and scales have none.
       */
      weightDecay: number;
      /**
       * For adam and adamw.
       */
      beta1: number;
      /**
       * For adam and adamw.
       */
      beta2: number;
    };
    /**
     * The differentiable bitwidth parameters.
     */
    dbp: {
      /**
       * Adam's learning rate of θ.
       */
      learningRate: number;
      /**
       * θ of a layer that starts at a bitwidth; β = σ(θ).
       */
      thetaInit: number;
      /**
       * A layer goes down to the next bitwidth when its β falls below this.
       */
      betaThreshold: number;
      /**
       * Temperature of the Gumbel-softmax at the start.
       */
      tauStart: number;
      /**
       * Temperature of the Gumbel-softmax at the end.
       */
      tauEnd: number;
    };
    /**
     * Step of the dual ascent on λ, the price of a bit.
     */
    dualRate: number;
    /**
     * Where `sdq` and `interpolation` begin: `highest` at the highest candidate of every layer, `sensitivity` one candidate above what that method would choose for the same targets, by `search.options.score`. Default: `sensitivity` for `sdq`, `highest` for `interpolation` and where `search.pareto` is set.
     */
    start?: 'highest' | 'sensitivity';
    /**
     * Whether the weights learn from the teacher of `train.distillation` in the search too, at its temperature; else from the labels.
     */
    distillation: boolean;
    /**
     * Part of the search in which the allowed cost falls to the target.
     */
    rampFraction: number;
    /**
     * Weight of the quantization-error regularizer.
     */
    quantizationErrorWeight: number;
    /**
     * Options of the search method itself. `sensitivity` has `score`: `loss` (default), `taylor` or `hessian`. So have `sdq` and `interpolation` for `search.start`; their default is `taylor`. `uniform` has none.
     */
    options: {
      [k: string]: unknown;
    };
  };
  /**
   * Phase 2: trains the network at the bitwidths of the strategy.
   */
  train: {
    /**
     * Passes over the training split.
     */
    epochs: number;
    /**
     * How the weights are updated.
     */
    optimizer: {
      /**
       * `sgd`, `adam` or `adamw` (decoupled weight decay).
       */
      name: 'sgd' | 'adam' | 'adamw';
      /**
       * Learning rate at its highest.
       */
      learningRate: number;
      /**
       * For sgd.
       */
      momentum: number;
      /**
       * For sgd.
       */
      nesterov: boolean;
      /**
       * Decay of the weights; batch-norm parameters, biases and scales have none.
       */
      weightDecay: number;
      /**
       * For adam and adamw.
       */
      beta1: number;
      /**
       * For adam and adamw.
       */
      beta2: number;
    };
    /**
     * The learning rate over time.
     */
    schedule: {
      /**
       * `constant`; `cosine` to 0; `step`, times `factor` at each milestone; `one-cycle`, up and down.
       */
      name: 'constant' | 'cosine' | 'step' | 'one-cycle';
      /**
       * Epochs in which it rises linearly from 0, before everything else.
       */
      warmupEpochs: number;
      /**
       * For step: fractions of the phase.
       */
      milestones: number[];
      /**
       * For step.
       */
      factor: number;
    };
    /**
     * Whose outputs the network learns.
     */
    distillation: {
      /**
       * `self`: the network's own full-precision weights; `none`: the labels; or another trained model.
       */
      teacher:
        | ('self' | 'none')
        | {
            /**
             * Name of a model.
             */
            model: string;
            /**
             * Safetensors file.
             */
            weights: string;
            /**
             * Options of the model.
             */
            options?: {
              [k: string]: unknown;
            };
          };
      /**
       * Temperature T: the logits of both networks are divided by it, the loss is multiplied by T².
       */
      temperature: number;
      /**
       * Weight μ of the cross-entropy with the labels, beside the teacher's.
       */
      hardLabelWeight: number;
    };
    /**
     * Pulls weights to the middle of their bin.
     */
    binRegularization: {
      /**
       * Weight λ_E; 0 leaves it out.
       */
      weight: number;
      /**
       * Epochs in which it rises from 0 to its value.
       */
      rampEpochs: number;
    };
    /**
     * Whether the steps of the weight grids are learned (LSQ), from the statistics' value on.
     */
    learnScales: boolean;
    /**
     * Learning rate of the learned steps and ranges, as a multiple of the weights'.
     */
    scaleRateFactor: number;
  };
  /**
   * Where runs are kept, and how often they save and log.
   */
  runs: {
    /**
     * Folder with one folder a run.
     */
    directory: string;
    /**
     * Seconds between checkpoints within an epoch; 0 saves one after every step. The end of an epoch always saves one.
     */
    checkpointSeconds: number;
    /**
     * Steps between two rows of the journal.
     */
    logEverySteps: number;
  };
  /**
   * Services that get what the run's journal holds, each at most once; the keys beside `name` are the tracker's own. Keys and passwords come from the environment, never from here.
   */
  tracking: {
    /**
     * Name of a tracker (`sdq doctor`).
     */
    name: string;
    [k: string]: unknown;
  }[];
  /**
   * Devices that the strategy must run on: names of hardware profiles (`sdq hardware list`), or files of your own that end in `.json`. Layers get only the bits that all of them allow. Where one of them is a target of `sdq export`, phase 2 computes what it computes.
   */
  hardware: string[];
  /**
   * Packages (or folders, as `./folder`) that add engines, data sets, models, quantizers, search methods or trackers.
   */
  plugins: string[];
  /**
   * Every random number of a run follows from it.
   */
  seed: number;
}
