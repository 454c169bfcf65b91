"""What tests share: models, data, fakes, random draws."""
