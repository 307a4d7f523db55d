"""What a fresh platform begins with: people, guidelines, prompts, a small policy and three open campaigns."""
