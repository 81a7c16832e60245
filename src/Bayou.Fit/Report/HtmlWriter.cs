using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace Bayou.Fit;

/// <summary>Markup that is already escaped.</summary>
internal readonly record struct Html(string Markup);

/// <summary>
/// Builds a page whose literal parts are markup and whose interpolated values are text: a value is always escaped unless its type is <see cref="Html"/>,
/// so no class or file name can become markup by a forgotten call. The result is well-formed XML too.
/// </summary>
internal sealed class HtmlWriter
{
    private readonly StringBuilder text = new();

    /// <summary>Appends markup with escaped values.</summary>
    public HtmlWriter Add([InterpolatedStringHandlerArgument("")] ref Markup markup)
    {
        _ = markup;
        text.Append('\n');
        return this;
    }

    /// <summary>Appends markup that was built elsewhere.</summary>
    public HtmlWriter Add(Html html)
    {
        text.Append(html.Markup).Append('\n');
        return this;
    }

    /// <inheritdoc/>
    public override string ToString() => text.ToString();

    /// <summary>A small piece of markup with escaped values.</summary>
    public static Html Of(FormattableString markup)
    {
        var values = Array.ConvertAll(markup.GetArguments(), a => a switch
        {
            Html html => html.Markup,
            IFormattable number => (object)number,      // keeps its format; no number or date needs escaping
            _ => Escape(a?.ToString()),
        });
        return new Html(string.Format(CultureInfo.InvariantCulture, markup.Format, values));
    }

    /// <summary>Text made safe for element content and quoted attributes.</summary>
    public static string Escape(string? value) => Clean(value)
        .Replace("&", "&amp;", StringComparison.Ordinal)
        .Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal)
        .Replace("\"", "&quot;", StringComparison.Ordinal)
        .Replace("'", "&#39;", StringComparison.Ordinal);

    /// <summary>
    /// Text without the characters that no page may contain (controls, halves of a surrogate pair): they become U+FFFD, line breaks and tabs spaces.
    /// </summary>
    public static string Clean(string? value)
    {
        if (string.IsNullOrEmpty(value)) return "";
        var clean = new StringBuilder(value.Length);
        foreach (var rune in value.EnumerateRunes())        // a lone surrogate arrives as U+FFFD
        {
            clean.Append(rune.Value switch
            {
                '\t' or '\n' or '\r' => " ",
                < 0x20 or (>= 0x7F and < 0xA0) or 0xFFFE or 0xFFFF => "\uFFFD",
                _ => rune.ToString(),
            });
        }
        return clean.ToString();
    }

    /// <summary>Receives the parts of an interpolated string.</summary>
    [InterpolatedStringHandler]
    internal readonly ref struct Markup(int literalLength, int formattedCount, HtmlWriter writer)
    {
        private readonly StringBuilder text = Reserve(writer.text, literalLength + 16 * formattedCount);

        public void AppendLiteral(string markup) => text.Append(markup);

        public void AppendFormatted(string? value) => text.Append(Escape(value));

        public void AppendFormatted(Html value) => text.Append(value.Markup);

        public void AppendFormatted(int value) => text.Append(value);

        private static StringBuilder Reserve(StringBuilder text, int more)
        {
            text.EnsureCapacity(text.Length + more);
            return text;
        }
    }
}
