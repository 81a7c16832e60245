using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using Bayou.Core;

namespace Bayou.Data;

/// <summary>Progress of a download.</summary>
/// <param name="File">Name of the file.</param>
/// <param name="Received">Bytes on disk, including those of an earlier, interrupted download.</param>
/// <param name="Total">Bytes in all, when the server says so.</param>
public readonly record struct DownloadProgress(string File, long Received, long? Total)
{
    /// <summary>Part received, 0..1; null when the server does not say how much there is.</summary>
    public double? Fraction => Total is > 0 ? Math.Min(1.0, (double)Received / Total.Value) : null;
}

/// <summary>
/// Downloads a file: into NAME.part, continued where an earlier attempt stopped, checked, then renamed. A file of the final name is always whole.
/// </summary>
public static class Downloader
{
    private const int Attempts = 3;
    private static readonly TimeSpan Stall = TimeSpan.FromSeconds(60);

    /// <summary>Downloads <paramref name="address"/> to <paramref name="path"/>, unless it is there.</summary>
    /// <param name="address">Where from.</param>
    /// <param name="path">Where to; its folder is made.</param>
    /// <param name="md5">Published MD5 of the file in hexadecimal, or null for no check. It guards against damage, not against an attacker.</param>
    /// <param name="progress">Called as bytes arrive.</param>
    /// <param name="cancellation">Stops; what has arrived is kept for the next attempt.</param>
    /// <exception cref="BayouException">The server cannot be reached, refuses, or the file is not the published one.</exception>
    public static void Fetch(Uri address, string path, string? md5, Action<DownloadProgress>? progress = null, CancellationToken cancellation = default)
    {
        if (File.Exists(path)) return;
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        var part = path + ".part";
        using var client = new HttpClient { Timeout = Timeout.InfiniteTimeSpan };       // stalls are timed below, not the whole
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                FetchOnce(client, address, part, Path.GetFileName(path), progress, cancellation);
                break;
            }
            catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException && attempt < Attempts && !IsRefusal(e))
            {
                cancellation.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(300 * attempt));
                cancellation.ThrowIfCancellationRequested();
            }
            catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException or UnauthorizedAccessException)
            {
                throw new BayouException($"{address}: cannot be downloaded to {path} ({e.Message})", e);
            }
        }
        if (md5 is not null)
        {
            string actual;
            using (var stream = File.OpenRead(part)) actual = Convert.ToHexString(MD5.HashData(stream));
            if (!actual.Equals(md5, StringComparison.OrdinalIgnoreCase))
            {
                File.Delete(part);
                throw new BayouException(
                    $"{address}: the file that came is not the published one (MD5 {actual.ToLowerInvariant()}, expected {md5}). It was deleted; try again.");
            }
        }
        File.Move(part, path, overwrite: true);
    }

    private static bool IsRefusal(Exception e) =>
        e is HttpRequestException { StatusCode: >= HttpStatusCode.BadRequest and < HttpStatusCode.InternalServerError };

    private static void FetchOnce(HttpClient client, Uri address, string part, string file, Action<DownloadProgress>? progress, CancellationToken cancellation)
    {
        var have = File.Exists(part) ? new FileInfo(part).Length : 0;
        using var stalled = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        stalled.CancelAfter(Stall);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            if (have > 0) request.Headers.Range = new RangeHeaderValue(have, null);
            using var response = client.Send(request, HttpCompletionOption.ResponseHeadersRead, stalled.Token);
            if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
            {
                // The part is already whole, or longer than the file: the checksum decides about the first, the second starts over.
                if (response.Content.Headers.ContentRange?.Length == have) return;
                File.Delete(part);
                throw new IOException("the server cannot continue the partial file; starting over");
            }
            response.EnsureSuccessStatusCode();
            var range = response.Content.Headers.ContentRange;
            if (response.StatusCode == HttpStatusCode.PartialContent && range?.From != have)
                throw new IOException("the server continued at another place than asked");
            if (response.StatusCode != HttpStatusCode.PartialContent) have = 0;          // no ranges here: from the start
            var total = range?.Length ?? response.Content.Headers.ContentLength + have;
            using var target = new FileStream(part, have > 0 ? FileMode.Append : FileMode.Create, FileAccess.Write, FileShare.Read);
            using var source = response.Content.ReadAsStream(stalled.Token);
            using var unblock = stalled.Token.Register(source.Dispose);
            var buffer = new byte[128 * 1024];
            progress?.Invoke(new DownloadProgress(file, have, total));
            int read;
            while ((read = source.Read(buffer)) > 0)
            {
                cancellation.ThrowIfCancellationRequested();
                stalled.CancelAfter(Stall);
                target.Write(buffer, 0, read);
                have += read;
                progress?.Invoke(new DownloadProgress(file, have, total));
            }
            target.Flush(flushToDisk: true);
            if (total is { } expected && have != expected) throw new IOException($"the connection ended after {have:N0} of {expected:N0} bytes");
        }
        catch (Exception) when (cancellation.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellation);
        }
        catch (Exception e) when (stalled.IsCancellationRequested && e is not BayouException)
        {
            throw new TimeoutException($"nothing arrived for {Stall.TotalSeconds:0} s", e);
        }
    }
}
