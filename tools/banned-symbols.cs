// Prints src/BannedSymbols.txt for the TorchSharp of Directory.Packages.props:
//     dotnet run tools/banned-symbols.cs > src/BannedSymbols.txt
#:package TorchSharp
#:property GenerateDocumentationFile=false
#:property PublishAot=false
using System.Reflection;
using TorchSharp;

const string Say = "use Bayou.Core.Ops: what bypasses it cannot be captured, exported or costed";
var tensor = typeof(torch.Tensor);
// What moves handles, copies to a device or type, or reads values: not arithmetic, and needed around networks.
string[] allowed =
[
    "DetachFromDisposeScope", "MoveToOuterDisposeScope", "MoveToOtherDisposeScope", "to", "to_type", "cpu", "cuda", "clone", "detach", "requires_grad_",
    "with_requires_grad",
    "set_requires_grad", "data", "copy_", "retain_grad",
];
string[] containers = ["ModuleList", "ModuleDict", "ParameterList", "ParameterDict"];

var lines = new SortedSet<string>(StringComparer.Ordinal);
void Ban(string id) => lines.Add($"{id};{Say}");

bool Takes(MethodBase method) => method.GetParameters().Any(p => Mentions(p.ParameterType));
bool Mentions(Type type) =>
    type == tensor || (type.HasElementType && Mentions(type.GetElementType()!)) || (type.IsGenericType && type.GetGenericArguments().Any(Mentions));

const BindingFlags Own = BindingFlags.Public | BindingFlags.DeclaredOnly;
foreach (var method in tensor.GetMethods(Own | BindingFlags.Instance))
{
    if (!method.IsSpecialName && !allowed.Contains(method.Name) && (Mentions(method.ReturnType) || method.Name == "item")) Ban(Id(method));
}
foreach (var method in tensor.GetMethods(Own | BindingFlags.Static))
{
    if (method.Name.StartsWith("op_", StringComparison.Ordinal) && Takes(method)) Ban(Id(method));
}
foreach (var property in tensor.GetProperties(Own | BindingFlags.Instance))
{
    if (property.GetIndexParameters().Length == 0 && Mentions(property.PropertyType) && property.Name != "grad") Ban($"P:{Name(tensor)}.{property.Name}");
}
foreach (var method in typeof(torch).GetMethods(Own | BindingFlags.Static))
{
    if (!method.IsSpecialName && Takes(method) && Mentions(method.ReturnType)) Ban(Id(method));
}
foreach (var method in typeof(torch.nn).GetMethods(Own | BindingFlags.Static))
{
    if (typeof(torch.nn.Module).IsAssignableFrom(method.ReturnType) && !containers.Contains(method.Name)) Ban(Id(method));
}
foreach (var type in new[] { typeof(torch.nn.functional), typeof(torch.special), typeof(torch.linalg), typeof(torch.fft) }) Ban($"T:{Name(type)}");

Console.WriteLine("// TorchSharp functions that networks must not call, because a capture cannot see them (ARCHITECTURE: Ops, and capture by running).");
Console.WriteLine("// The analyser does not see indexers (x[0]) and compound assignments (x += y): the capture refuses their results when it runs.");
Console.WriteLine("// Made by: dotnet run tools/banned-symbols.cs > src/BannedSymbols.txt");
foreach (var line in lines) Console.WriteLine(line);

// Documentation ids as the compiler makes them.
string Id(MethodInfo method)
{
    var generic = method.IsGenericMethod ? $"``{method.GetGenericArguments().Length}" : "";
    var parameters = method.GetParameters();
    var list = parameters.Length == 0 ? "" : $"({string.Join(",", parameters.Select(p => Name(p.ParameterType)))})";
    var result = method.Name is "op_Implicit" or "op_Explicit" ? "~" + Name(method.ReturnType) : "";
    return $"M:{Name(method.DeclaringType!)}.{method.Name}{generic}{list}{result}";
}

string Name(Type type)
{
    if (type.IsByRef) return Name(type.GetElementType()!) + "@";
    if (type.IsPointer) return Name(type.GetElementType()!) + "*";
    if (type.IsArray)
        return Name(type.GetElementType()!) + (type.GetArrayRank() == 1 ? "[]" : "[" + string.Join(",", Enumerable.Repeat("0:", type.GetArrayRank())) + "]");
    if (type.IsGenericParameter) return (type.DeclaringMethod is null ? "`" : "``") + type.GenericParameterPosition;
    var arguments = type.IsGenericType ? type.GetGenericArguments() : [];
    return Nest(type.IsGenericType ? type.GetGenericTypeDefinition() : type, arguments);
}

// A nested generic type carries the arguments of the outer ones first.
string Nest(Type type, Type[] arguments)
{
    var outer = type.DeclaringType is { } declaring ? Nest(declaring, arguments) : type.Namespace ?? "";
    var inherited = type.DeclaringType?.GetGenericArguments().Length ?? 0;
    var own = arguments.Skip(inherited).Take(type.GetGenericArguments().Length - inherited).Select(Name).ToArray();
    var tick = type.Name.IndexOf('`');
    return $"{outer}.{(tick < 0 ? type.Name : type.Name[..tick])}{(own.Length > 0 ? "{" + string.Join(",", own) + "}" : "")}";
}
