using Bayou.Core;

namespace Bayou.Onnx;

/// <summary>AQT's quantiser in ONNX: it has no operator there, so it is written out as arithmetic on floats.</summary>
internal static class OnnxAqt
{
    public static void Emit(OnnxEmitter e, AqtQuantizeOp op)
    {
        var (x, type) = (e.In(0), e.Node.Output.Dtype);
        var scale = op.Bound is { } fix && e.Node.Inputs[1] is null ? e.Number(op.Range / (fix + AqtQuantizeOp.Epsilon), type) : Scale(e, op, x);
        var scaled = e.Add("Mul", [x, scale], [e.Temporary("scaled")]);
        string Clip(string value, double low, double high) => e.Add("Clip", [value, e.Number(low, type), e.Number(high, type)], [e.Temporary("clipped")]);
        var code = op.Codes switch
        {
            AqtCodes.HalfShift =>
                e.Add("Add", [e.Add("Floor", [Clip(scaled, -op.Clip, op.Clip)], [e.Temporary("floor")]), e.Number(0.5, type)], [e.Temporary("code")]),
            AqtCodes.Signed => e.Add("Floor", [e.Add("Add", [Clip(scaled, -op.Clip, op.Clip), e.Number(0.5, type)], [e.Temporary("half")])],
                [e.Temporary("code")]),
            _ => Clip(e.Add("Floor", [scaled], [e.Temporary("floor")]), 0, op.Range - 1),
        };
        if (e.Node.Inputs[1] is null)
        {
            e.Add("Div", [code, scale], [e.Out()]);
            return;
        }
        var value = e.Add("Div", [code, scale], [e.Temporary("value")]);
        var open = e.Add("Less", [e.In(1), e.Number(0, type)], [e.Temporary("open")]);
        e.Add("Where", [open, x, value], [e.Out()]);
    }

    private static string Scale(OnnxEmitter e, AqtQuantizeOp op, string x)
    {
        var type = e.Node.Output.Dtype;
        string bound;
        if (e.Node.Inputs[1] is not null) bound = e.In(1);
        else
        {
            var rank = e.Node.Inputs[0]!.Shape.Count;
            var axis = op.Axis < 0 ? op.Axis + rank : op.Axis;
            var axes = Enumerable.Range(0, rank).Where(d => d != axis).Select(d => (long)d).ToArray();
            bound = e.Add("ReduceMax", [e.Add("Abs", [x], [e.Temporary("size")]), e.Longs(axes)], [e.Temporary("bound")], ("keepdims", 1L));
        }
        return e.Add("Div", [e.Number(op.Range, type), e.Add("Add", [bound, e.Number(AqtQuantizeOp.Epsilon, type)], [e.Temporary("guarded")])],
            [e.Temporary("scale")]);
    }
}
