using System.Numerics;

namespace Bayou.Data;

/// <summary>The bodies synthetic scenes are made of.</summary>
public enum ScenePart
{
    /// <summary>A cuboid turned about the vertical.</summary>
    Box,

    /// <summary>An upright cylinder.</summary>
    Cylinder,

    /// <summary>An ellipsoid with holes: foliage lets part of the rays through.</summary>
    Foliage,
}

/// <summary>A body of a synthetic scene.</summary>
/// <param name="Part">Its form.</param>
/// <param name="Centre">Centre, metres.</param>
/// <param name="Half">Half sizes along its own axes.</param>
/// <param name="Yaw">Turn about the vertical, radians.</param>
/// <param name="Label">Class.</param>
/// <param name="Instance">Object it belongs to; 0 for the surroundings.</param>
/// <param name="Colour">Red, green, blue, 0..1.</param>
public readonly record struct ScenePrimitive(ScenePart Part, Vector3 Centre, Vector3 Half, float Yaw, int Label, int Instance, Vector3 Colour)
{
    /// <summary>Distance along a ray to the first hit and the surface's normal there; infinite when it misses.</summary>
    /// <param name="origin">Where the ray starts.</param>
    /// <param name="direction">Unit vector.</param>
    /// <param name="luck">0..1, decides whether a ray passes through foliage.</param>
    /// <param name="normal">Unit normal at the hit.</param>
    public float Hit(Vector3 origin, Vector3 direction, float luck, out Vector3 normal)
    {
        var (sin, cos) = MathF.SinCos(Yaw);
        var (o, d) = (ToOwn(origin - Centre, sin, cos), ToOwn(direction, sin, cos));
        var distance = Part switch
        {
            ScenePart.Box => BoxHit(o, d, out normal),
            ScenePart.Cylinder => RoundHit(o, d, new Vector3(1, 1, 0), out normal),
            _ => luck < 0.6f ? RoundHit(o, d, Vector3.One, out normal) : Miss(out normal),
        };
        normal = new Vector3(cos * normal.X - sin * normal.Y, sin * normal.X + cos * normal.Y, normal.Z);
        return distance;
    }

    private static Vector3 ToOwn(Vector3 v, float sin, float cos) => new(cos * v.X + sin * v.Y, -sin * v.X + cos * v.Y, v.Z);

    private static float Miss(out Vector3 normal)
    {
        normal = default;
        return float.PositiveInfinity;
    }

    // Slabs.
    private float BoxHit(Vector3 o, Vector3 d, out Vector3 normal)
    {
        float near = 1e-4f, far = float.PositiveInfinity;
        var axis = -1;
        for (var i = 0; i < 3; i++)
        {
            if (MathF.Abs(d[i]) < 1e-9f)
            {
                if (MathF.Abs(o[i]) > Half[i]) return Miss(out normal);
                continue;
            }
            var (a, b) = ((-Half[i] - o[i]) / d[i], (Half[i] - o[i]) / d[i]);
            if (a > b) (a, b) = (b, a);
            if (a > near) (near, axis) = (a, i);
            far = MathF.Min(far, b);
        }
        if (near > far || axis < 0) return Miss(out normal);
        normal = default;
        normal[axis] = -MathF.Sign(d[axis]);
        return near;
    }

    // Quadric of the axes in the mask; an upright cylinder ends at its height.
    private float RoundHit(Vector3 o, Vector3 d, Vector3 mask, out Vector3 normal)
    {
        Vector3 p = o / Half * mask, q = d / Half * mask;
        float a = Vector3.Dot(q, q), b = Vector3.Dot(p, q), c = Vector3.Dot(p, p) - 1, disc = b * b - a * c;
        if (a < 1e-12f || disc < 0) return Miss(out normal);
        var t = (-b - MathF.Sqrt(disc)) / a;
        if (t < 1e-4f || (mask.Z == 0 && MathF.Abs(o.Z + t * d.Z) > Half.Z)) return Miss(out normal);
        normal = Vector3.Normalize((o + t * d) * mask / (Half * Half));
        return t;
    }
}

/// <summary>An object's box.</summary>
/// <param name="Label">Class.</param>
/// <param name="Instance">Object.</param>
/// <param name="Centre">Centre, metres.</param>
/// <param name="Size">Length, width, height.</param>
/// <param name="Yaw">Turn about the vertical, radians.</param>
public sealed record SceneBox(int Label, int Instance, Vector3 Centre, Vector3 Size, float Yaw);

/// <summary>A picture of a synthetic scene.</summary>
/// <param name="Image">The picture.</param>
/// <param name="Boxes">Visible objects: class, instance, left, top, right, bottom in pixels (right and bottom beyond the last pixel).</param>
/// <param name="Position">Of the camera.</param>
/// <param name="Yaw">Direction it looks, radians; level.</param>
/// <param name="Focal">Focal length in pixels; the principal point is the centre.</param>
public sealed record SceneView(ImageBuffer Image, IReadOnlyList<(int Label, int Instance, int Left, int Top, int Right, int Bottom)> Boxes, Vector3 Position,
    float Yaw, float Focal);

/// <summary>How a scene is sensed and furnished: two domains differ in these numbers, which is the shift a domain adaptation has to bridge.</summary>
public sealed record SceneDomain
{
    /// <summary>Deviation of the range noise, metres.</summary>
    public double Noise { get; init; } = 0.005;

    /// <summary>Part of the echoes that are lost.</summary>
    public double Dropout { get; init; } = 0.05;

    /// <summary>Rings of the scanner.</summary>
    public int Rings { get; init; } = 96;

    /// <summary>Echoes of a turn.</summary>
    public int Columns { get; init; } = 480;

    /// <summary>Factor on all sizes of objects.</summary>
    public double ObjectScale { get; init; } = 1;

    /// <summary>Factor on the number of objects.</summary>
    public double Crowding { get; init; } = 1;

    /// <summary>Added to every colour channel, -1..1.</summary>
    public double ColourShift { get; init; }

    /// <summary>A dense scanner in a tidy world.</summary>
    public static SceneDomain Source { get; } = new();

    /// <summary>A sparser, noisier scanner in a fuller world with larger objects and darker colours.</summary>
    public static SceneDomain Target { get; } =
        new() { Noise = 0.015, Dropout = 0.2, Rings = 48, Columns = 360, ObjectScale = 1.15, Crowding = 1.4, ColourShift = -0.15 };
}
