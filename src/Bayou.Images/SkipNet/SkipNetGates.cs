using Bayou.Core;
using static Bayou.Core.Ops;
using static TorchSharp.torch;

namespace Bayou.Images;

/// <summary>Which gate decides about the blocks (paper, section 3.1 and figure 2).</summary>
public enum SkipGateKind
{
    /// <summary>One recurrent gate for all blocks (RNNGate): about 0.04 % of a block's work.</summary>
    Recurrent,

    /// <summary>Two convolutions a gate (FFGate-I): about 19 % of a block's work; for networks up to 74 layers.</summary>
    FeedForward1,

    /// <summary>One convolution a gate (FFGate-II): about 12.5 %; for deeper networks.</summary>
    FeedForward2,
}

/// <summary>
/// Feed-forward gate: [N, C, H, W] -> probability of running the next block, [N, 1]. FFGate-I: max pool 2, conv 3x3, conv 3x3 stride 2, mean, 1x1 to (skip,
/// run), softmax; FFGate-II: conv 3x3 stride 2, mean, the same end.
/// </summary>
public sealed class FeedForwardGate : Layer
{
    private readonly Conv2d conv1;
    private readonly BatchNorm bn1;
    private readonly Conv2d? conv2;
    private readonly BatchNorm? bn2;
    private readonly Conv2d linear_layer;

    /// <summary>Builds the gate of a block's output with the given channels.</summary>
    public FeedForwardGate(int channels, bool twoConvolutions)
    {
        conv1 = new Conv2d(channels, channels, 3, twoConvolutions ? 1 : 2, 1, bias: false);
        bn1 = new BatchNorm(channels);
        if (twoConvolutions) (conv2, bn2) = (new Conv2d(channels, channels, 3, 2, 1, bias: false), new BatchNorm(channels));
        linear_layer = new Conv2d(channels, 2, 1);
        RegisterComponents();
    }

    /// <summary>Bias of (skip, run), [2].</summary>
    internal Parameter ChoiceBias => linear_layer.Bias!;

    /// <summary>Probability of running, [N, 1].</summary>
    public override Tensor forward(Tensor x)
    {
        if (conv2 is not null) x = MaxPool2d(x, new Ints(2, 2), new Ints(2, 2), new Ints(0, 0));
        x = Relu(bn1.call(conv1.call(x)));
        if (conv2 is not null) x = Relu(bn2!.call(conv2.call(x)));
        x = linear_layer.call(Mean(x, new Ints(2, 3), keepDim: true));
        return Slice(Softmax(Reshape(x, 0, 2), 1), 1, 1);
    }
}

/// <summary>
/// What a recurrent gate sees of a block's output: mean over the map and a 1x1 convolution. [N, C, H, W] -> [N, embed]. Key "1": index 0 is the pool.
/// </summary>
public sealed class GateEmbedding : Layer
{
    private readonly Conv2d conv;

    /// <summary>Builds the embedding.</summary>
    public GateEmbedding(int channels, int embed)
    {
        conv = new Conv2d(channels, embed, 1);
        register_module("1", conv);
    }

    /// <summary>The projection, [embed, C, 1, 1] and [embed].</summary>
    internal (Parameter Weight, Parameter Bias) Projection => (conv.Weight, conv.Bias!);

    /// <inheritdoc/>
    public override Tensor forward(Tensor x) => Reshape(conv.call(Mean(x, new Ints(2, 3), keepDim: true)), 0, -1);
}

/// <summary>One layer of an LSTM that runs step by step; keys and gate order (i, f, g, o) of PyTorch's nn.LSTM.</summary>
public sealed class LstmCell : Layer
{
    private readonly Parameter weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0;
    private readonly long hidden;

    /// <summary>Initialised as PyTorch does: uniform within 1 / sqrt(hidden).</summary>
    public LstmCell(long input, long hidden)
    {
        this.hidden = hidden;
        var bound = 1 / Math.Sqrt(hidden);
        Parameter Uniform(params long[] shape) => NewParameter(nn.init.uniform_(empty(shape), -bound, bound));
        (weight_ih_l0, weight_hh_l0) = (Uniform(4 * hidden, input), Uniform(4 * hidden, hidden));
        (bias_ih_l0, bias_hh_l0) = (Uniform(4 * hidden), Uniform(4 * hidden));
        RegisterComponents();
    }

    /// <summary>Weights of input and state, [4 hidden, ...], and both biases.</summary>
    internal (Parameter Input, Parameter State, Parameter InputBias, Parameter StateBias) Weights => (weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0);

    /// <summary>One step. x [N, input]; the state (h, c), each [N, hidden], or null for zeros. Returns the next state.</summary>
    public (Tensor H, Tensor C) Step(Tensor x, (Tensor H, Tensor C)? state)
    {
        var gates = Linear(x, weight_ih_l0, bias_ih_l0);
        gates = Add(gates, state is { } s ? Linear(s.H, weight_hh_l0, bias_hh_l0) : bias_hh_l0);
        var parts = Split(gates, 1, hidden, hidden, hidden, hidden);
        var (input, forget, cell, output) =
            (Activate(parts[0], Activation.Sigmoid), parts[1], Activate(parts[2], Activation.Tanh), Activate(parts[3], Activation.Sigmoid));
        var c = Mul(input, cell);
        if (state is { } before) c = Add(Mul(Activate(forget, Activation.Sigmoid), before.C), c);
        return (Mul(output, Activate(c, Activation.Tanh)), c);
    }

    /// <summary>The output of one step from the zero state.</summary>
    public override Tensor forward(Tensor x) => Step(x, null).H;
}

/// <summary>The recurrent gate that all blocks share: an LSTM and a projection to one probability. Keys rnn.*, proj.*.</summary>
public sealed class RecurrentControl : Layer
{
    private readonly LstmCell rnn;
    private readonly Layer proj;        // a Linear in the CIFAR models, a 1x1 convolution in the ImageNet ones

    /// <summary>Builds the gate.</summary>
    public RecurrentControl(int embed, int hidden, bool convolution)
    {
        rnn = new LstmCell(embed, hidden);
        proj = convolution ? new Conv2d(hidden, 1, 1) : new Linear(hidden, 1);
        RegisterComponents();
    }

    /// <summary>The projection to the probability's logit: its sharpness is the policy's.</summary>
    public Layer Projection => proj;

    /// <summary>The recurrent cell.</summary>
    internal LstmCell Cell => rnn;

    /// <summary>The projection's weight, hidden values.</summary>
    internal Parameter ProjectionWeight => proj is Conv2d convolution ? convolution.Weight : ((Linear)proj).Weight;

    /// <summary>The projection's bias, [1].</summary>
    internal Parameter ProjectionBias => proj is Conv2d convolution ? convolution.Bias! : ((Linear)proj).Bias!;

    /// <summary>Embedding [N, embed] and state to the probability of running, [N, 1], and the next state.</summary>
    public (Tensor Probability, (Tensor H, Tensor C) State) Step(Tensor embedding, (Tensor H, Tensor C)? state)
    {
        var next = rnn.Step(embedding, state);
        var logit = proj is Conv2d ? Reshape(proj.call(Reshape(next.H, 0, -1, 1, 1)), 0, 1) : proj.call(next.H);
        return (Activate(logit, Activation.Sigmoid), next);
    }

    /// <summary>The probability of one step from the zero state.</summary>
    public override Tensor forward(Tensor embedding) => Step(embedding, null).Probability;
}
