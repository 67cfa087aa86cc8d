"""What a user asks for: data + model + loss + metric + answer."""
