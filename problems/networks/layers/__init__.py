"""What can be done to a layer: masked, stored sparse, rounded to int8."""
