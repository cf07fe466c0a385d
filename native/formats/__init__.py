"""A circuit's other forms: .chr files, text, expressions, C, Python and Verilog source, graphs."""
