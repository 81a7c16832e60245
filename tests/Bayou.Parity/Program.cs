Console.WriteLine("bayou");
