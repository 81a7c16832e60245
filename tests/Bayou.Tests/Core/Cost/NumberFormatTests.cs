using Bayou.Core;
using Bayou.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Bayou.Tests;

public class NumberFormatTests
{
    public static TheoryData<string> Small =>
        [.. new[] { "e4m3", "e5m2", "e3m4", "e2m3", "e3m2", "e2m1", "e4m3fnuz", "e5m2fnuz", "e4m3ieee", "e4m3b11", "e4m3b7", "e3m3", "e5m1", "e2m5", "e4m2fin",
        "e5m0" }];

    private static Minifloat Of(string name) => NumberFormat.Parse(name).Float!;

    [Theory]
    [MemberData(nameof(Small))]
    public void Every_code_is_its_own_nearest_value(string name)
    {
        var format = Of(name);
        for (var code = 0; code < 1 << format.Bits; code++)
        {
            var value = format.Decode(code);
            if (float.IsNaN(value)) Assert.True(float.IsNaN(format.Cast(value)));
            else if (float.IsInfinity(value)) Assert.Equal(code, format.Encode(value, saturate: false));
            else
            {
                Assert.Equal(value, format.Cast(value));
                Assert.Equal(code, format.Encode(value));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Small))]
    public void Casts_give_the_nearest_code_and_ties_the_even_one(string name)
    {
        var format = Of(name);
        var codes = Enumerable.Range(0, 1 << format.Bits).Where(c => float.IsFinite(format.Decode(c))).OrderBy(c => (double)format.Decode(c)).ThenBy(c => c)
            .ToArray();
        for (var i = 1; i < codes.Length; i++)
        {
            double low = format.Decode(codes[i - 1]), high = format.Decode(codes[i]);
            if (low == high) continue;      // the two zeros
            var middle = (float)((low + high) / 2);
            Assert.Equal((float)low, format.Cast(MathF.BitDecrement(middle)));
            Assert.Equal((float)high, format.Cast(MathF.BitIncrement(middle)));
            // Around zero both signs are neighbours of the tie; otherwise one of two consecutive codes is even.
            var tie = format.Cast(middle);
            Assert.True(tie == (float)low || tie == (float)high);
            Assert.Equal(0, format.Encode(tie) & 1);
        }
    }

    [Theory]
    [InlineData("e4m3", 464f, 448f, float.NaN)]
    [InlineData("e4m3", 464.1f, 448f, float.NaN)]
    [InlineData("e5m2", 61440f, 57344f, float.PositiveInfinity)]
    [InlineData("e5m2", 61439f, 57344f, 57344f)]
    [InlineData("e3m4", float.PositiveInfinity, 15.5f, float.PositiveInfinity)]
    [InlineData("e2m1", 100f, 6f, 6f)]
    [InlineData("e4m3fnuz", 1000f, 240f, float.NaN)]
    public void Overflow_saturates_or_not(string name, float x, float saturated, float other)
    {
        var format = Of(name);
        Assert.Equal(saturated, format.Cast(x));
        Assert.Equal(-saturated, format.Cast(-x));
        if (name == "e4m3" && x == 464f) other = 448f;      // the tie goes to the even code
        Assert.Equal(other, format.Cast(x, saturate: false));
    }

    [Fact]
    public void Ranges_are_the_published_ones()
    {
        Assert.Equal((448f, 1f / 64, 1f / 512), (Of("e4m3").Max, Of("e4m3").MinNormal, Of("e4m3").MinSubnormal));
        Assert.Equal((57344f, MathF.ScaleB(1, -14), MathF.ScaleB(1, -16)), (Of("e5m2").Max, Of("e5m2").MinNormal, Of("e5m2").MinSubnormal));
        Assert.Equal((240f, 57344f), (Of("e4m3fnuz").Max, Of("e5m2fnuz").Max));
        Assert.Equal((7.5f, 28f, 6f), (Of("e2m3").Max, Of("e3m2").Max, Of("e2m1").Max));
        Assert.Equal(0, BitConverter.SingleToInt32Bits(Of("e4m3fnuz").Cast(-0f)));
        Assert.Equal(int.MinValue, BitConverter.SingleToInt32Bits(Of("e4m3").Cast(-0f)));
    }

    [Fact]
    public void Every_vector_width_gives_the_same_bits()
    {
        var random = new Random(1);
        var x = Enumerable.Range(0, 1003)
            .Select(i => i switch
            {
                0 => float.NaN,
                1 => float.PositiveInfinity,
                2 => float.NegativeInfinity,
                3 => -0f,
                4 => float.Epsilon,
                5 => float.MaxValue,
                _ => BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue))
            }).ToArray();
        foreach (var name in (string[])["e4m3", "e5m2", "e2m1", "bf16", "fp16", "e4m3fnuz"])
        {
            foreach (var saturate in (bool[])[true, false])
            {
                var expected = new float[x.Length];
                for (var i = 0; i < x.Length; i++) expected[i] = Of(name).Cast(x[i], saturate);
                foreach (var level in Enum.GetValues<KernelIsaLevel>())
                {
                    var before = KernelIsa.Max;
                    KernelIsa.Max = level;
                    try
                    {
                        var actual = new float[x.Length];
                        Of(name).Cast(x, actual, saturate);
                        Assert.Equal(expected.Select(BitConverter.SingleToInt32Bits), actual.Select(BitConverter.SingleToInt32Bits));
                    }
                    finally
                    {
                        KernelIsa.Max = before;
                    }
                }
            }
        }
    }

    [Fact]
    public void Bf16_and_fp16_agree_with_libtorch_and_the_runtime()
    {
        using var scope = NewDisposeScope();
        manual_seed(2);
        var x = (randn(20000) * exp(randn(20000) * Number.Of(8))).data<float>().ToArray();
        var bf16 = tensor(x).to(bfloat16).to(float32).data<float>().ToArray();
        for (var i = 0; i < x.Length; i++)
        {
            Assert.Equal(bf16[i], NumberFormat.Bf16.Float!.Cast(x[i], saturate: false));
            Assert.Equal(bf16[i], FloatRounding.FromBf16(FloatRounding.ToBf16(x[i])));
            Assert.Equal((float)(Half)x[i], NumberFormat.Fp16.Float!.Cast(x[i], saturate: false));
        }
    }

    [Fact]
    public void Integers_and_scales()
    {
        float[] x = [-2, -0.6f, -0.5f, 0, 0.5f, 1.5f, 2.5f, 300];
        var y = new float[x.Length];
        NumberFormat.Int8.Cast(x, y);
        Assert.Equal([-2, -1, -0f, 0, 0, 2, 2, 127], y);
        NumberFormat.Int4.Cast(x, y, 0.5f);
        Assert.Equal([-2, -0.5f, -0.5f, 0, 0.5f, 1.5f, 2.5f, 3.5f], y);
        NumberFormat.Binary.Cast(x, y, 2);
        Assert.Equal([-2, -2, -2, 2, 2, 2, 2, 2], y);
        Assert.Throws<BayouException>(() => NumberFormat.Int8.Cast(x, y, float.NaN));
    }

    [Fact]
    public void Stochastic_rounding_is_right_on_average()
    {
        const int noises = 1 << 10;
        var format = Of("e4m3");
        foreach (var x in (float[])[1.03f, 3.3f, -0.7f])
        {
            var mean = Enumerable.Range(0, noises).Average(n => (double)FloatRounding.Stochastic(x, n << 10, format));
            Assert.Equal(x, mean, 3);
        }
    }

    [Theory]
    [InlineData("e9m2")]
    [InlineData("e8m12")]
    [InlineData("int99")]
    [InlineData("float")]
    [InlineData("banana")]
    [InlineData("e1m3")]
    public void Unknown_formats_are_named(string text)
    {
        if (text == "float") Assert.Equal("fp32", NumberFormat.Parse(text).Name);
        else if (text == "e1m3") Assert.Equal(MinifloatKind.Finite, NumberFormat.Parse(text).Float!.Kind);
        else Assert.Throws<BayouException>(() => NumberFormat.Parse(text));
    }

    [Fact]
    public void Aqt_downcast_rounds_flushes_and_saturates()
    {
        Assert.Equal(1.25f, FloatRounding.AqtDowncast(1.3f, -6, 8, 3));
        Assert.Equal(480f, FloatRounding.AqtDowncast(1e6f, -6, 8, 3));
        Assert.Equal(0f, FloatRounding.AqtDowncast(0.0145f, -6, 8, 3));
        Assert.Equal(1f / 64, FloatRounding.AqtDowncast(0.01562f, -6, 8, 3));      // rounds up to the smallest number before it could be flushed
        Assert.True(float.IsNaN(FloatRounding.AqtDowncast(float.NaN, -6, 8, 3)));
    }

    [Fact]
    public void Format_cast_op_matches_spans_and_passes_gradients_inside_the_range()
    {
        using var scope = NewDisposeScope();
        var x = tensor(new float[,] { { 0.3f, -7, 2.2f }, { 100, 0.01f, -3 } }).requires_grad_(true);
        var op = new FormatCastOp(NumberFormat.E2M1, 0);
        var y = op.Forward([x, tensor(new[] { 1f, 10f })], training: true);
        TensorAssert.Close(tensor(new float[,] { { 0.5f, -6, 2 }, { 60, 0, -5 } }), y, 1e-6, 1e-6);
        y.sum().backward();
        TensorAssert.Same(tensor(new float[,] { { 1, 0, 1 }, { 0, 1, 1 } }), x.grad!);
    }

    [Theory]
    [InlineData("mxfp8", "e4m3", 8)]
    [InlineData("mxfp6", "e2m3", 2)]
    [InlineData("mxe3m2", "e3m2", 4)]
    [InlineData("mxfp4", "e2m1", 2)]
    [InlineData("mxint8", "int8", 6)]
    public void Microscaled_blocks_share_a_power_of_two(string name, string element, int top)
    {
        var format = NumberFormat.Parse(name);
        var inner = NumberFormat.Parse(element);
        Assert.Equal((inner.Bits, 32, false), (format.Bits, format.Block, format.NeedsScale));
        var random = new Random(3);
        // Blocks of very different sizes; the last one is short.
        float[] x = [.. Enumerable.Range(0, 150).Select(i => (float)((random.NextDouble() - 0.5) * Math.Pow(10, i / 32 * 3 - 6)))];
        var y = new float[x.Length];
        format.Cast(x, y);
        for (var start = 0; start < x.Length; start += 32)
        {
            var block = x.Skip(start).Take(32).ToArray();
            var scale = MathF.Pow(2, MathF.Floor(MathF.Log2(block.Max(MathF.Abs))) - top);
            for (var i = 0; i < block.Length; i++)
            {
                var one = new float[1];
                inner.Cast([block[i] / scale], one);
                Assert.Equal(one[0] * scale, y[start + i]);
            }
        }
    }

    [Fact]
    public void Microscaled_blocks_of_zeros_and_of_what_is_not_finite()
    {
        float[] x = [.. new float[32], .. Enumerable.Repeat(1f, 31), float.NaN, 3];
        var y = new float[65];
        NumberFormat.MxFp4.Cast(x, y);
        Assert.All(y[..32], v => Assert.Equal(0, v));
        Assert.All(y[32..64], v => Assert.True(float.IsNaN(v)));
        Assert.Equal(3, y[64]);
        Assert.Throws<BayouException>(() => NumberFormat.Parse("mxbf16"));
        Assert.Throws<BayouException>(() => NumberFormat.Parse("mx"));
    }
}
