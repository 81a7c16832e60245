using System.Text;
using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;
using Bayou.Core;
using Bayou.Fit;
using CsCheck;

namespace Bayou.Tests;

public sealed class ReportTests
{
    private static readonly string[] SectionIds = ["summary", "data", "search", "training", "test", "robustness", "layers", "quantisation", "reproduce"];

    [Fact]
    public void FullPageHasEverySectionAndStaysSmall()
    {
        var page = FitReport.Render(ReportSample.Full());
        Assert.Equal(SectionIds, Sections(Parse(page)));
        Assert.InRange(Encoding.UTF8.GetByteCount(page), 50_000, 3_000_000);
    }

    [Fact]
    public void BarePageHasNoEmptySection()
    {
        var root = Parse(FitReport.Render(ReportSample.Bare()));
        Assert.Empty(Sections(root));
        Assert.Empty(root.Descendants("nav").Descendants("a"));
        Assert.Contains("Shipped tiny as fp32.", Text(root));
    }

    [Fact]
    public void LeavingOnePartOutLeavesOutItsSectionOnly()
    {
        var full = ReportSample.Full();
        (string Gone, FitReportData Data)[] cases =
        [
            ("summary", full with { Summary = [], Checks = [], Notes = [] }),
            ("data", full with { Data = null }),
            ("search", full with { Candidates = [], Rounds = [] }),
            ("training", full with { Training = null }),
            ("test", full with { Confusion = null, Mistakes = [] }),
            ("robustness", full with { Robustness = null }),
            ("layers", full with { Layers = [] }),
            ("quantisation", full with { Quantisation = null }),
            ("reproduce", full with { Command = null, Seed = null, Machine = null, Files = [] }),
        ];
        foreach (var (gone, data) in cases)
        {
            var root = Parse(FitReport.Render(data));
            Assert.Equal(SectionIds.Where(id => id != gone), Sections(root));
            Assert.Equal(Sections(root).Select(id => "#" + id), root.Descendants("nav").Descendants("a").Select(a => a.Attribute("href")!.Value));
        }
    }

    [Fact]
    public void FiguresOfTheVerdictAndTheTablesAreOnThePage()
    {
        var text = Text(Parse(FitReport.Render(ReportSample.Full())));
        foreach (var expected in new[]
        {
            "Shipped c07 as INT8: 91.3 % of the test pictures right, latency 0.312 ms of 0.45 ms allowed", "meets the budget", "69 % of 0.45 ms", "148 kB",
            "103 k", "7.52 M",
            "95 % interval 90.8 to 91.9", "1.72 times faster, 2.91 times smaller, −0.2 points of accuracy", "best discarded",
            "exceeds the latency budget in both forms",
            "3 files could not be read", "Round 3", "kept in float", "costs more than 0.2 points alone", "ONNX Runtime", "--latency 0.45ms", "not trained",
            "promoted",
        })
        {
            Assert.Contains(expected, text);
        }
    }

    [Fact]
    public void MissedBudgetIsSaid()
    {
        var full = ReportSample.Full();
        var text = Text(Parse(FitReport.Render(full with
        {
            Verdict = full.Verdict with { MeetsBudget = false, LatencyMs = 0.6 },
            Budgets = [new ReportBudget(ReportQuantity.Latency, 0.45)],
        })));
        Assert.Contains("exceeds the budget", text);
        Assert.Contains("133 % of 0.45 ms", text);
    }

    [Fact]
    public void PageIsSelfContained()
    {
        var page = FitReport.Render(ReportSample.Full());
        Assert.DoesNotContain("http:", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("https:", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("@import", page);
        var root = Parse(page);
        foreach (var attribute in root.Descendants().Attributes().Where(a => a.Name.LocalName is "src" or "href" or "srcset" or "action" or "data" or "poster"))
            Assert.True(attribute.Value.StartsWith("data:", StringComparison.Ordinal) || attribute.Value.StartsWith('#'), attribute.ToString());
        foreach (Match url in Regex.Matches(page, @"url\(([^)]*)\)")) Assert.StartsWith("#", url.Groups[1].Value);
        Assert.Contains("default-src 'none'", root.Descendants("meta").Single(m => m.Attribute("http-equiv") is not null).Attribute("content")!.Value);
    }

    [Fact]
    public void PicturesAreInlinedByteForByte()
    {
        var full = ReportSample.Full();
        var shown = Parse(FitReport.Render(full)).Descendants("img").Select(i => i.Attribute("src")!.Value.Split(',')[1]).ToHashSet();
        Assert.All(full.Data!.Samples.Concat(full.Mistakes), p => Assert.Contains(Convert.ToBase64String(p.Png), shown));
    }

    [Fact]
    public void BrokenPictureBecomesABoxThatSaysSo()
    {
        var data = ReportSample.Full() with { Mistakes = [new ReportPicture([1, 2, 3], 0, 1, 0.9, "broken.png")] };
        Assert.Contains(Parse(FitReport.Render(data)).Descendants("span"), s => s.Value == "no picture" && s.Attribute("title")!.Value == "broken.png");
    }

    [Fact]
    public void IdsAreUniqueAndEveryReferenceHasItsTarget()
    {
        var page = FitReport.Render(ReportSample.Full());
        var ids = Parse(page).Descendants().Attributes("id").Select(a => a.Value).ToList();
        Assert.Equal(ids.Count, ids.Distinct().Count());
        foreach (Match url in Regex.Matches(page, @"url\(#([^)]*)\)")) Assert.Contains(url.Groups[1].Value, ids);
    }

    [Theory]
    [InlineData("<script>alert(1)</script>")]
    [InlineData("\"><img src=x onerror=alert(1)>")]
    [InlineData("' onmouseover='alert(1)")]
    [InlineData("</style></title><b>&amp;&lt;")]
    [InlineData("]]> --> {0} {{x}}")]
    [InlineData("\u202Egnp.exe مرحبا 日本語 👩‍🚀")]
    [InlineData("nul\0 bell\a lone \uD83D end \uFFFF")]
    public void HostileNamesStayText(string name)
    {
        var clean = Parse(FitReport.Render(Hostile("plain")));
        var root = Parse(FitReport.Render(Hostile(name)));
        // The same elements with the same attributes as for a plain name: nothing a name says becomes structure.
        Assert.Equal(clean.DescendantsAndSelf().Select(Shape), root.DescendantsAndSelf().Select(Shape));
        Assert.Contains(Shown(name), root.Descendants("h1").Single().Value);
    }

    [Fact]
    public void AnyNameKeepsThePageWellFormed() =>
        Gen.String.Sample(name => Parse(FitReport.Render(Hostile(name))).Descendants("h1").Count() == 1, iter: 6);

    [Fact]
    public void EscapingIsUndoneByAnyReader() =>
        Gen.String[Gen.Char[' ', '~'], 0, 60]
            .Sample(text => XElement.Parse($"<a b=\"{HtmlWriter.Escape(text)}\">{HtmlWriter.Escape(text)}</a>", LoadOptions.PreserveWhitespace) is var a
            && a.Value == text && a.Attribute("b")!.Value == text);

    [Fact]
    public void HundredClassesAreDrawnAsCellsAndOneThousandAsAList()
    {
        var hundred = FitReport.Render(ReportSample.Full(100));
        var heat = Parse(hundred).Descendants("svg").Single(s => s.Attribute("class")?.Value == "heat");
        var confusion = ReportSample.Full(100).Confusion!;
        Assert.Equal(confusion.Sum(r => r.Count(n => n > 0)), heat.Elements("rect").Count(r => r.Attribute("class")!.Value != "frame"));
        Assert.InRange(Encoding.UTF8.GetByteCount(hundred), 0, 3_000_000);

        var many = ReportSample.Full(300);
        var root = Parse(FitReport.Render(many with { Data = null, Mistakes = [] }));
        Assert.DoesNotContain(root.Descendants("svg"), s => s.Attribute("class")?.Value == "heat");
        Assert.Contains("Most frequent confusions", Text(root));
    }

    [Fact]
    public void ConfusionMatrixHoldsEveryCount()
    {
        var data = ReportSample.Full();
        var matrix = Parse(FitReport.Render(data)).Descendants("table").Single(t => t.Attribute("class")?.Value == "matrix");
        var shown = matrix.Element("tbody")!.Elements("tr").Select(r => r.Elements("td").Select(c => c.Value.Length == 0 ? 0 : int.Parse(c.Value)).ToArray())
            .ToArray();
        Assert.Equal(data.Confusion!.Select(r => r.ToArray()), shown);
    }

    [Fact]
    public void JsonRoundTripGivesTheSamePage()
    {
        var full = ReportSample.Full();
        full = full with { Training = full.Training! with { Loss = [new ReportCurve("diverged", [1, 2, 3], [0.5, double.NaN, double.PositiveInfinity])] } };
        var back = FitReportData.FromJson(full.ToJson());
        Assert.Equal(FitReport.Render(full), FitReport.Render(back));
        Assert.Equal(full.ToJson(), back.ToJson());
        Assert.Contains("\"png\"", full.ToJson());
        Assert.DoesNotContain("\"png\"", full.WithoutPictures().ToJson());
        Assert.Throws<BayouException>(() => FitReportData.FromJson("{ \"dataset\": 1"));
        Assert.Throws<BayouException>(() => FitReportData.FromJson("{}"));
        Assert.Throws<BayouException>(() => FitReportData.FromJson("null"));
    }

    [Fact]
    public void ContradictoryDataIsRefused()
    {
        var full = ReportSample.Full();
        Assert.Contains("there are 10 classes",
            Assert.Throws<BayouException>(() => FitReport.Render(full with { Mistakes = [new ReportPicture([], 10)] })).Message);
        Assert.Contains("10 x 10", Assert.Throws<BayouException>(() => FitReport.Render(full with { Confusion = [[1]] })).Message);
        Assert.Contains("class counts",
            Assert.Throws<BayouException>(() => FitReport.Render(full with { Data = full.Data! with { Counts = [new(1, 2, 3)] } })).Message);
    }

    [Fact]
    public void WritingReplacesTheOldPageOrSaysWhyNot()
    {
        var folder = Directory.CreateTempSubdirectory("bayou-report-");
        try
        {
            var path = Path.Combine(folder.FullName, "report.html");
            File.WriteAllText(path, "old");
            FitReport.Write(ReportSample.Bare(), path);
            Assert.Equal(FitReport.Render(ReportSample.Bare()), File.ReadAllText(path));
            Assert.Single(folder.GetFiles());
            Assert.Throws<BayouException>(() => FitReport.Write(ReportSample.Bare(), Path.Combine(folder.FullName, "missing", "report.html")));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData(0.9134, 10_000, 0.9077, 0.9188)]
    [InlineData(1.0, 10, 0.7225, 1.0)]
    [InlineData(0.0, 10, 0.0, 0.2775)]
    public void WilsonIntervalMatchesKnownValues(double share, int n, double low, double high)
    {
        var (l, h) = OverviewSection.Wilson(share, n);
        Assert.Equal(low, l, 4);
        Assert.Equal(high, h, 4);
    }

    [Theory]
    [InlineData(0.0, "0 ms")]
    [InlineData(0.31249, "0.312 ms")]
    [InlineData(9.994, "9.99 ms")]
    [InlineData(123.4, "123 ms")]
    [InlineData(9.996, "10.0 ms")]
    [InlineData(double.NaN, "–")]
    public void MillisecondsHaveThreeFigures(double ms, string expected) => Assert.Equal(expected, Units.Milliseconds(ms).Replace('\u00A0', ' '));

    [Theory]
    [InlineData(999, "999")]
    [InlineData(999_499, "999 k")]
    [InlineData(999_500, "1.00 M")]
    [InlineData(7_524_000, "7.52 M")]
    public void CountsAreScaled(double count, string expected) => Assert.Equal(expected, Units.Count(count).Replace('\u00A0', ' '));

    [Theory]
    [InlineData(4.25, "4.25 s")]
    [InlineData(59.99, "60.0 s")]
    [InlineData(318.4, "5 min 18 s")]
    [InlineData(7384, "2 h 3 min")]
    public void DurationsAreReadable(double seconds, string expected) => Assert.Equal(expected, Units.Duration(seconds).Replace('\u00A0', ' '));

    private static FitReportData Hostile(string name)
    {
        var full = ReportSample.Full();
        return full with
        {
            Dataset = name,
            Command = name,
            Classes = full.Classes.Select((_, i) => name + i).ToList(),
            Notes = [name],
            Verdict = full.Verdict with { Model = name, Form = name, Description = name },
            Summary = [new ReportSummaryRow { Role = ReportRole.Chosen, Model = name, Form = name, Note = name, AccuracyOn = name }],
            Data = full.Data! with
            {
                Description = name,
                Warnings = [new ReportWarning(name, name, [name])],
                Samples = [full.Data.Samples[0] with { Name = name }],
            },
            Candidates = full.Candidates.Take(2).Select((c, i) => c with { Name = name + i, Description = name, Reason = name }).ToList(),
            Rounds = [new ReportRound(name, name, [new ReportTrial(name, 0.5, 1, 2, true, name)])],
            Training = new ReportTraining { Recipe = [new ReportFact(name, name)], Loss = [new ReportCurve(name, [1, 2], [3, 4])] },
            Mistakes = [full.Mistakes[0] with { Name = name }],
            Layers = [new ReportLayer { Name = name, Op = name, Output = name, Form = name }],
            Quantisation = full.Quantisation! with
            {
                Description = name,
                AccuracyOn = name,
                SensitivityUnit = name,
                Layers = [new ReportSensitivity(name, 1, true, name)]
            },
            Checks = [new ReportCheck(name, name, name, false)],
            Files = [new ReportFile(name, 1, name)],
            Machine = new ReportMachine { Facts = [new ReportFact(name, name)], Versions = [new ReportFact(name, name)] },
        };
    }

    // What a reader of the page sees of a name: spaces for line breaks and tabs, U+FFFD for what no page may contain.
    private static string Shown(string name) => name.Replace('\0', '\uFFFD').Replace('\a', '\uFFFD').Replace('\uFFFF', '\uFFFD').Replace("\uD83D ", "\uFFFD ");

    private static string Shape(XElement element) => element.Name + "(" + string.Join(",", element.Attributes().Select(a => a.Name.LocalName)) + ")";

    private static XElement Parse(string page)
    {
        const string doctype = "<!DOCTYPE html>";
        Assert.StartsWith(doctype, page);
        var settings = new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, CheckCharacters = true };
        using var reader = XmlReader.Create(new StringReader(page[doctype.Length..].TrimStart()), settings);
        var root = XElement.Load(reader, LoadOptions.PreserveWhitespace);
        Assert.Equal(["head", "body"], root.Elements().Select(e => e.Name.LocalName));
        return root;
    }

    private static List<string> Sections(XElement root) => root.Descendants("section").Select(s => s.Attribute("id")!.Value).ToList();

    private static string Text(XElement root) => Regex.Replace(root.Element("body")!.Value.Replace('\u00A0', ' '), @"\s+", " ");
}
